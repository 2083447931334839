"""Connections that are cut and turns that start again: the visitor ends with the exact text."""

import pytest
from playwright.async_api import Page, expect

from tests.connectors.web.edges import Bus, HubProcess
from tests.connectors.web.widget.reading import answer, ask, wait_for_text

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_reload_amid_an_answer_goes_on(page: Page, hub: HubProcess, bus: Bus) -> None:
    """What was generated before the reload is there again, and the rest follows."""
    turn = await ask(page, bus, "Why?")
    bus.say(turn, "Because the ")
    await expect(answer(page)).to_have_text("Because the")
    await page.reload()
    await expect(answer(page)).to_have_text("Because the")
    bus.say(turn, "sky is blue")
    await expect(answer(page)).to_have_text("Because the sky is blue")
    await hub.answer(turn, "Because the sky is blue.")

    await expect(answer(page)).to_have_text("Because the sky is blue.")
    await expect(page.locator(".entry")).to_have_count(1)
    assert len(bus.messages) == 1


async def test_dropped_connections_resume_to_the_character(page: Page, hub: HubProcess, bus: Bus) -> None:
    """The connection is cut again and again amid an answer; the text is exact before the final comes."""
    pieces = [
        "Grüße ",
        "👩‍🚀👍🏽",
        " aus",
        " dem Süden: ",
        "日本語",
        " und",
        " more",
        " 🏳️‍🌈",
        " x" * 20,
        " end",
    ]
    turn = await ask(page, bus)
    for number, piece in enumerate(pieces):
        bus.say(turn, piece)
        if number % 3 == 1:
            hub.cut()
            bus.say(turn, f" [lost {number}]")
            await wait_for_text(page, bus.live.texts[turn])
    await wait_for_text(page, bus.live.texts[turn])

    await expect(page.locator(".entry")).to_have_count(1)


async def test_turn_that_starts_again_replaces_what_was_shown(page: Page, bus: Bus) -> None:
    """A second worker took over, also while the page was away."""
    turn = await ask(page, bus)
    bus.say(turn, "An attempt that")
    await wait_for_text(page, "An attempt that")
    bus.reset(turn)
    bus.say(turn, "Another one")
    await wait_for_text(page, "Another one")
    bus.live.texts[turn] = ""
    bus.typing(turn)
    bus.say(turn, "The third")
    await wait_for_text(page, "The third")


async def test_attempt_abandoned_during_a_drop_is_replaced(page: Page, hub: HubProcess, bus: Bus) -> None:
    """The page has text of an attempt nobody continues: it is not mixed with the new one."""
    turn = await ask(page, bus)
    bus.say(turn, "The first attempt")
    await wait_for_text(page, "The first attempt")
    hub.cut()
    bus.live.texts[turn] = "A second attempt that is longer than the first"
    await wait_for_text(page, bus.live.texts[turn])


async def test_message_written_without_a_connection_is_sent_once(
    page: Page, hub: HubProcess, bus: Bus
) -> None:
    """It is kept, the state is shown, and when the hub is back it arrives once, in order."""
    await hub.stop()
    await expect(page.locator(".state")).to_have_text("Reconnecting…")
    for text in ("One", "Two"):
        await page.get_by_label("Your message").fill(text)
        await page.keyboard.press("Enter")
    await expect(page.locator(".notice")).to_contain_text("No connection")
    await hub.start()
    turns = [await bus.next_turn(), await bus.next_turn()]
    await hub.answer(turns[1], "Answer")

    await expect(answer(page)).to_have_text("Answer")
    await expect(page.locator(".notice")).to_be_hidden()
    assert [bus.messages[turn].text for turn in turns] == ["One", "Two"]
    assert len(bus.messages) == 2


async def test_drop_that_lasts_is_said_whatever_is_tried_meanwhile(
    paused_page: Page, hub: HubProcess
) -> None:
    """A visitor reads of it after a second and a half; tries to connect do not put that off."""
    await paused_page.evaluate("Math.random = () => 0.2")  # the first try comes within that time
    await hub.stop()
    await expect(paused_page.locator(".state")).to_have_text("Reconnecting…")

    await paused_page.clock.run_for(1400)
    await expect(paused_page.locator(".notice")).to_be_hidden()
    await paused_page.clock.run_for(200)
    await expect(paused_page.locator(".notice")).to_contain_text("No connection")


async def test_lost_acceptance_is_asked_for_again(page: Page, hub: HubProcess, bus: Bus) -> None:
    """The connection dies between storing and `accepted`: one question, one answer on the page."""

    async def cut_after(message: object) -> None:
        bus.before_publish = None
        await bus.publish(message)  # type: ignore[arg-type]
        hub.cut()

    bus.before_publish = cut_after
    turn = await ask(page, bus, "Once")
    await hub.answer(turn, "Here.")

    await expect(answer(page)).to_have_text("Here.")
    await expect(page.locator(".state")).to_have_text("Online")
    await expect(page.locator(".entry")).to_have_count(1)
    assert len(bus.messages) == 1
