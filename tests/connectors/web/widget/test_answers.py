"""An answer from the question to its sources, as a visitor sees it."""

import pytest
from playwright.async_api import Browser, Page, expect

from hub.messages import Turn
from hub.web_settings import WebSettings
from tests.connectors.web.edges import SOURCE, Bus, HubProcess
from tests.connectors.web.widget.reading import answer, ask

SOURCES = [SOURCE.model_copy(update={"number": number}) for number in (1, 2, 3)]


def marked(turn: Turn, *states: str) -> Turn:
    """Give a turn with what became of its sources."""
    pairs = zip(turn.sources, states, strict=True)
    return turn.model_copy(
        update={"sources": tuple(one.model_copy(update={"state": state}) for one, state in pairs)}
    )


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_answer_grows_while_it_is_generated(page: Page, hub: HubProcess, bus: Bus) -> None:
    """Dots while the hub thinks, then every piece as it comes, then the answer."""
    turn = await ask(page, bus, "How do I connect Telegram?")
    bus.typing(turn)
    await expect(page.locator(".dots")).to_be_visible()
    for text in ("Set ", "the token", " of the bot"):
        bus.say(turn, text)
        await expect(answer(page)).to_have_text(bus.live.texts[turn].strip())
    await expect(page.locator(".entry")).to_have_attribute("data-state", "streaming")
    await hub.answer(turn, "Set the token of the bot.")

    await expect(answer(page)).to_have_text("Set the token of the bot.")
    await expect(page.locator(".visitor .bubble")).to_have_text("You: How do I connect Telegram?")
    assert bus.messages[turn].text == "How do I connect Telegram?"


async def test_sources_stand_under_the_answer(page: Page, hub: HubProcess, bus: Bus) -> None:
    """A citation opens its card: title, heading, the sentences and where they stand."""
    await hub.answer(await ask(page, bus), "Set the token [1], not [2].", SOURCE)

    card = page.locator(".source")
    await expect(card.locator("summary")).to_have_text("1TelegramConnect a bot")
    await expect(card.locator("blockquote")).to_be_hidden()
    await expect(answer(page)).to_have_text("Set the token 1, not [2].")
    await page.get_by_role("button", name="Source 1").click()
    await expect(card.locator("blockquote")).to_have_text(SOURCE.quote)
    await expect(card.locator(".location")).to_have_text("docs/telegram.md")


async def test_conversation_survives_a_reload(page: Page, hub: HubProcess, bus: Bus) -> None:
    """After a reload the page shows what was said, sources included, and can go on."""
    await hub.answer(await ask(page, bus, "First?"), "One. [1]", SOURCE)
    await expect(answer(page)).to_have_text("One. 1")
    await page.reload()

    await expect(page.locator(".visitor .bubble")).to_have_text("You: First?")
    await expect(answer(page)).to_have_text("One. 1")
    await expect(page.locator(".source")).to_have_count(1)
    await hub.answer(await ask(page, bus, "Second?"), "Two.")
    await expect(answer(page)).to_have_text("Two.")
    assert len({message.conversation for message in bus.messages.values()}) == 1


async def test_earlier_answers_tell_what_became_of_their_sources(
    page: Page, hub: HubProcess, bus: Bus
) -> None:
    """After a reload; also where the page is only connected again."""
    await hub.answer(await ask(page, bus, "First?"), "One. [1] Two. [2] Three. [3]", *SOURCES)
    await expect(page.locator(".source")).to_have_count(3)
    await expect(page.locator(".became:not(:empty)")).to_have_count(0)
    for conversation, turns in bus.history.past.items():
        states = ("changed", "gone", "current")
        bus.history.past[conversation] = [marked(turn, *states) for turn in turns]
    await page.reload()

    await expect(page.locator(".source summary")).to_have_text(
        [
            "1TelegramConnect a botThis document has changed since.",
            "2TelegramConnect a botThis document is not there any more.",
            "3TelegramConnect a bot",
        ]
    )
    for conversation, turns in bus.history.past.items():
        bus.history.past[conversation] = [marked(turn, "current", "current", "gone") for turn in turns]
    await hub.stop()
    await hub.start()
    await expect(page.locator(".source summary")).to_have_text(
        [
            "1TelegramConnect a bot",
            "2TelegramConnect a bot",
            "3TelegramConnect a botThis document is not there any more.",
        ]
    )


async def test_new_conversation_forgets_the_old_one(page: Page, hub: HubProcess, bus: Bus) -> None:
    """After a question back the page is empty and the next message belongs to somebody new."""
    first = await ask(page, bus)
    await hub.answer(first, "Here.")
    await expect(answer(page)).to_have_text("Here.")
    await page.get_by_role("button", name="New conversation").click()
    await page.get_by_role("button", name="Start over").click()
    await expect(page.locator(".entry")).to_have_count(0)
    await expect(page.locator(".state")).to_have_text("Online")
    second = await ask(page, bus)

    assert bus.messages[first].conversation != bus.messages[second].conversation
    await page.reload()
    await expect(page.locator(".entry")).to_have_count(1)


async def test_token_nobody_knows_starts_a_new_conversation(page: Page, hub: HubProcess, bus: Bus) -> None:
    """A hub with another key refuses the token; the page starts anew instead of failing for ever."""
    await page.evaluate(
        "for (const key of Object.keys(localStorage)) if (key.endsWith('token')) localStorage.setItem(key, '\"v1.x\"')"
    )
    await page.reload()
    await expect(page.locator(".state")).to_have_text("Online")
    await hub.answer(await ask(page, bus), "Hello!")

    await expect(answer(page)).to_have_text("Hello!")


async def test_too_long_a_message_is_not_sent(page: Page, bus: Bus) -> None:
    """The page tells the limit instead of cutting or losing the text."""
    await page.get_by_label("Your message").fill("x" * 8001)
    await page.keyboard.press("Enter")

    await expect(page.locator(".problem")).to_have_text("8,001 of 8,000 characters")
    await expect(page.get_by_role("button", name="Send message")).to_be_disabled()
    await page.get_by_label("Your message").fill("日" * 7000)
    await expect(page.locator(".problem")).to_have_text("This message is too long")
    assert not bus.messages


async def test_example_questions_are_asked(page: Page, bus: Bus) -> None:
    """A click on the demo page or on a suggestion asks at once."""
    await page.get_by_role("button", name="How do I add documents?").click()
    assert bus.messages[await bus.next_turn()].text == "How do I add documents?"
    await expect(page.locator(".chips")).to_be_hidden()


async def test_many_messages_at_once_arrive_in_order(browser: Browser, bus: Bus) -> None:
    """The hub asks to slow down; the page waits and sends the rest by itself."""
    hub = HubProcess(bus, WebSettings(messages_per_10s=4))
    await hub.start()
    page = await browser.new_page()
    await page.goto(hub.url)
    await page.evaluate("for (let n = 0; n < 6; n += 1) Hubbub.ask(`Number ${n}`)")

    turns = [await bus.next_turn() for _ in range(6)]

    assert [bus.messages[turn].text for turn in turns] == [f"Number {number}" for number in range(6)]
    await page.close()
    await hub.stop()
