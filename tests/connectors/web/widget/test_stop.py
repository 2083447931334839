"""Stopping an answer, and waiting for one's turn, as a visitor sees it."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.connectors.web.edges import Bus, HubProcess
from tests.connectors.web.widget.reading import answer, ask, wait_for_text

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_button_stops_the_answer_that_is_coming(page: Page, hub: HubProcess, bus: Bus) -> None:
    """It takes the place of Send while there is nothing to send; the bubble says that it was stopped."""
    stop, send = page.get_by_role("button", name="Stop answering"), page.get_by_role("button", name="Send")
    await expect(stop).to_be_hidden()
    turn = await ask(page, bus)
    bus.say(turn, "Half of it")
    await expect(answer(page)).to_contain_text("Half of it")
    await expect(send).to_be_hidden()
    await stop.click()

    await wait_for_text(page, "Stopped.")
    assert bus.cancelled == [turn]
    bus.say(turn, " and more that came too late")
    await hub.stopped(turn)
    await expect(page.locator(".entry")).to_have_attribute("data-kind", "cancelled")
    await expect(page.get_by_role("button", name="Copy answer")).to_have_count(0)
    await expect(stop).to_be_hidden()
    await expect(send).to_be_visible()
    await expect(page.get_by_label("Your message")).to_be_focused()
    await expect(page.locator("[aria-live=polite]")).to_have_text("Stopped.")
    await hub.answer(await ask(page, bus, "Next"), "Here.")
    await expect(answer(page)).to_have_text("Here.")


async def test_escape_stops_before_it_closes(page: Page, hub: HubProcess, bus: Bus) -> None:
    """Once nothing is on its way it closes the chat as ever."""
    await ask(page, bus)
    await page.keyboard.press("Escape")
    await wait_for_text(page, "Stopped.")
    await expect(page.get_by_role("dialog")).to_be_visible()

    await page.keyboard.press("Escape")

    await expect(page.get_by_role("dialog")).to_be_hidden()


async def test_who_writes_on_while_an_answer_comes_can_send(page: Page, bus: Bus) -> None:
    """Send is back with the first letter, and Stop with the last one gone."""
    stop, send = page.get_by_role("button", name="Stop answering"), page.get_by_role("button", name="Send")
    await ask(page, bus)
    await expect(stop).to_be_visible()
    await page.get_by_label("Your message").fill("And then?")
    await expect(send).to_be_visible()
    await expect(stop).to_be_hidden()

    await send.click()

    assert bus.messages[await bus.next_turn()].text == "And then?"
    await expect(stop).to_be_visible()


async def test_a_question_that_never_left_is_dropped(page: Page, hub: HubProcess, bus: Bus) -> None:
    """Nobody else knows of it: it is stopped without the hub, and is not sent later."""
    await hub.stop()
    hub.cut()
    await expect(page.locator(".state")).not_to_have_text("Online")
    await page.get_by_label("Your message").fill("Never mind")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Escape")
    await wait_for_text(page, "Stopped.")
    await hub.start()
    await expect(page.locator(".state")).to_have_text("Online")
    turn = await ask(page, bus, "Something else")

    assert [message.text for message in bus.messages.values()] == [bus.messages[turn].text]


async def test_a_stop_survives_a_lost_connection(page: Page, hub: HubProcess, bus: Bus) -> None:
    """The page asks again when it is back, and learns how it ended."""
    turn = await ask(page, bus)
    await expect(page.locator(".entry")).to_have_attribute("data-state", "accepted")
    await hub.stop()
    hub.cut()
    await expect(page.locator(".state")).not_to_have_text("Online")
    await page.keyboard.press("Escape")
    await expect(answer(page)).to_have_text("Stopping…")
    await hub.start()

    await wait_for_text(page, "Stopped.")
    assert bus.cancelled == [turn]


async def test_a_stopped_question_is_gone_after_a_reload(page: Page, hub: HubProcess, bus: Bus) -> None:
    """It was undone; and it counts as no unread answer."""
    await hub.answer(await ask(page, bus, "First"), "One.")
    await expect(answer(page)).to_have_text("One.")
    await ask(page, bus, "Second")
    await page.keyboard.press("Escape")
    await wait_for_text(page, "Stopped.")
    await page.set_viewport_size({"width": 1000, "height": 800})  # the page stays closed there
    await page.reload()

    await expect(page.locator(".entry")).to_have_count(1)
    await expect(page.locator(".badge")).to_be_hidden()


async def test_a_wait_is_counted_down_until_there_is_text(
    paused_page: Page, hub: HubProcess, bus: Bus
) -> None:
    """Beside the dots, rounded, and read out once; a newer estimate takes its place."""
    page, spoken = paused_page, paused_page.locator("[aria-live=polite]")
    turn = await ask(page, bus)
    bus.wait(turn, 630)
    await play_until(page, r"About 630 sec until it is your turn")
    await expect(spoken).to_have_text("About 630 sec until it is your turn")
    await page.clock.run_for(60_000)
    await play_until(page, r"About 570 sec until it is your turn")
    bus.wait(turn, 9)
    await play_until(page, r"About \d sec until it is your turn")
    await play_until(page, r"It is your turn in a moment")
    await expect(spoken).to_have_text("About 630 sec until it is your turn")
    bus.typing(turn)
    await play_until(page, r"")
    await hub.answer(turn, "Here it is")

    await play_until(page, r"Here it is")


async def play_until(page: Page, pattern: str) -> None:
    """Let time pass in small steps until the newest answer reads like this."""
    for _ in range(1_000):
        if re.fullmatch(pattern, await answer(page).evaluate("node => node.textContent")):
            return
        await page.clock.run_for(50)
    raise AssertionError(f"{await answer(page).inner_text()!r} never became {pattern!r}")
