"""The widget in the language of the page, from its names to its numbers."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from hub.web_settings import WebSettings
from tests.connectors.web.edges import Bus, HubProcess
from tests.connectors.web.texts import TEXTS
from tests.connectors.web.widget.hosting import hosting
from tests.connectors.web.widget.reading import answer, ask
from tests.servers.redis import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("code", sorted(TEXTS))
async def test_widget_speaks_the_language_of_its_tag(browser: Browser, bus: Bus, code: str) -> None:
    """Names, states, greeting and hints; the hub is told, so that its notices fit."""
    page, hub, turn = await talk(browser, bus, lang="en", language=code)
    texts = TEXTS[code]

    await expect(page.get_by_role("textbox", name=texts["message"])).to_have_attribute(
        "placeholder", texts["hint"]
    )
    await expect(page.locator(".state")).to_have_text(texts["online"])
    await expect(page.locator(".welcome .bubble p")).to_have_text(texts["greeting"])
    await hub.answer(turn, "Hi")
    await expect(page.get_by_role("button", name=texts["copy"])).to_be_visible()
    assert bus.messages[turn].language == code
    assert await page.locator("hubbub-chat").get_attribute("lang") == code
    await page.context.close()
    await hub.stop()


async def talk(
    browser: Browser, bus: Bus, *, lang: str, locale: str = "en-US", **attributes: str
) -> tuple[Page, HubProcess, str]:
    """Open a page of somebody else, and ask; return page, hub and turn."""
    port = free_port()
    hub = HubProcess(bus, WebSettings(allowed_origins=(f"http://127.0.0.1:{port}",)))
    await hub.start()
    context = await browser.new_context(locale=locale, reduced_motion="reduce")
    page = await context.new_page()
    async with hosting(hub.url, lang=lang, port=port, open="true", **attributes) as origin:
        await page.goto(origin)
        await page.locator("textarea").fill("Hello")
        await page.keyboard.press("Enter")
        return page, hub, await bus.next_turn()


@pytest.mark.parametrize(
    ("attribute", "lang", "locale", "shown"),
    [
        ("de", "fr", "it", "de"),
        ("", "fr", "it", "fr"),
        ("", "", "it", "it"),
        ("xx", "fr", "it", "fr"),
        ("xx", "yy", "it", "it"),
        ("xx", "yy", "ja", "en"),
        ("pt-BR", "", "en", "pt-BR"),
        ("ZH_hant", "", "en", "zh-Hant"),
    ],
)
async def test_language_is_the_first_one_that_is_known(
    browser: Browser, bus: Bus, attribute: str, lang: str, locale: str, shown: str
) -> None:
    """The tag, else the page, else the browser, else English; the region counts for numbers and times."""
    page, hub, _ = await talk(browser, bus, lang=lang, locale=locale, language=attribute)

    await expect(page.locator(".state")).to_have_text(TEXTS[shown.partition("-")[0]]["online"])
    assert await page.locator("hubbub-chat").get_attribute("lang") == shown
    await page.context.close()
    await hub.stop()


async def test_numbers_are_written_as_the_language_does(browser: Browser, bus: Bus) -> None:
    """Thousands, seconds and times."""
    page, hub, turn = await talk(browser, bus, lang="de")
    bus.wait(turn, 60)
    await expect(answer(page)).to_have_text(re.compile(r"Noch etwa (60|55) Sek\., bis Sie an der Reihe sind"))
    await page.locator("textarea").fill("x" * 8001)

    await expect(page.locator("#problem")).to_have_text("8.001 von 8.000 Zeichen")
    await hub.answer(turn, "Hallo")
    await expect(page.locator(".meta time")).to_have_text(re.compile(r"\d\d:\d\d"))
    await page.context.close()
    await hub.stop()


async def test_arabic_goes_from_right_to_left(browser: Browser, bus: Bus) -> None:
    """What the visitor says stands at the left, the avatar at the right; English in it keeps its direction."""
    page, hub, turn = await talk(browser, bus, lang="ar")
    await hub.answer(turn, "An answer in English")
    panel = await page.locator(".panel").bounding_box()
    question = await page.locator(".visitor .bubble").bounding_box()
    avatar = await page.locator(".entry .avatar").bounding_box()
    bubble = page.locator(".entry .assistant .bubble")
    reply = await bubble.bounding_box()

    assert panel
    assert question
    assert avatar
    assert reply
    assert question["x"] - panel["x"] < 30
    assert avatar["x"] > reply["x"] + reply["width"]
    assert await bubble.evaluate("node => getComputedStyle(node).direction") == "ltr"
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.context.close()
    await hub.stop()


async def test_greeting_of_the_operator_is_shown_as_it_is(browser: Browser, bus: Bus) -> None:
    """Only the hub's own is translated."""
    hub = HubProcess(bus, WebSettings(greeting="Servus!"))
    await hub.start()
    page = await browser.new_page(locale="de")
    await page.goto(hub.url)

    await expect(page.locator(".welcome .bubble p")).to_have_text("Servus!")
    await page.close()
    await hub.stop()


async def test_question_asked_in_another_language_is_still_answered(
    page: Page, hub: HubProcess, bus: Bus
) -> None:
    """Nothing about a language changes what is sent."""
    turn = await ask(page, bus, "مرحبا")
    await hub.answer(turn, "Hello")

    await expect(answer(page)).to_have_text("Hello")
    assert bus.messages[turn].text == "مرحبا"
