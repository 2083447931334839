"""What axe-core, the engine behind most accessibility audits, has to say about the widget: nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, FilePayload, Page, expect

from hub.web_settings import WebSettings
from tests.connectors.web.edges import SOURCE, Bus, HubProcess
from tests.connectors.web.widget.hosting import hosting
from tests.connectors.web.widget.reading import ask
from tests.servers.redis import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUN = "axe.run(document.querySelector('hubbub-chat'), { resultTypes: ['violations'] })"


async def problems(page: Page) -> list[tuple[str, list[str]]]:
    """Return the rules that are broken, each with the elements that break it."""
    await page.evaluate(AXE_SCRIPT)
    result: dict[str, Any] = await page.evaluate(RUN)
    assert result["passes"] or result["violations"], "nothing was looked at"
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in result["violations"]]


async def closed(page: Page, hub: HubProcess, bus: Bus) -> None:
    """Two answers came while the chat was closed."""
    turns = [await ask(page, bus), await ask(page, bus)]
    await page.evaluate("Hubbub.close()")
    for turn in turns:
        await hub.answer(turn, "Here.")
    await expect(page.locator(".badge")).to_be_visible()


async def opened(page: Page, hub: HubProcess, bus: Bus) -> None:
    """Nothing was said yet."""


async def streaming(page: Page, hub: HubProcess, bus: Bus) -> None:
    """One answer grows, the next one waits."""
    turn = await ask(page, bus)
    bus.say(turn, "Some **text** with `code` and [a link](https://example.org)")
    bus.wait(await ask(page, bus, "And then?"), 90)
    await expect(page.locator(".wait")).to_be_visible()


async def answered(page: Page, hub: HubProcess, bus: Bus) -> None:
    """An answer with everything an answer can have, its source open, and judged."""
    text = "## Steps\n\n1. One [1]\n\n> quoted\n\n```py\nprint()\n```\n\n- a\n- b\n\n---\n[link](https://example.org)"
    await hub.answer(await ask(page, bus), text, SOURCE)
    await page.locator(".source summary").click()
    await page.locator(".judge.up").click()
    await page.locator(".entry pre").focus()


async def failing(page: Page, hub: HubProcess, bus: Bus) -> None:
    """An error, a stopped answer, a file that cannot be read, and no connection."""
    error = bus.reply(await ask(page, bus), "This did not work.").model_copy(update={"kind": "error"})
    await bus.live.announce(error)
    await ask(page, bus)
    await page.evaluate("Hubbub.stop()")
    await page.locator("input[type=file]").set_input_files(
        FilePayload(name="encrypted.problem", mimeType="text/plain", buffer=b"x")
    )
    await expect(page.locator(".files li[data-state=failed]")).to_be_visible()
    await page.locator("textarea").fill("x" * 9000)
    await hub.stop()
    await page.evaluate("Hubbub.ask('Anybody?')")
    await expect(page.locator(".notice")).to_be_visible()


async def leaving(page: Page, hub: HubProcess, bus: Bus) -> None:
    """The visitor closes the chat and is asked for an address, which is none."""
    await ask(page, bus)
    await page.evaluate("Hubbub.close()")
    await page.locator(".offer input").fill("nobody")
    await page.keyboard.press("Enter")
    await expect(page.locator(".offer .problem")).to_be_visible()


async def starting_over(page: Page, hub: HubProcess, bus: Bus) -> None:
    """The question before a conversation is forgotten."""
    await hub.answer(await ask(page, bus), "Here.")
    await page.locator("header .tool").first.click()
    await expect(page.locator(".confirm")).to_be_visible()


STATES = [closed, opened, streaming, answered, failing, leaving, starting_over]


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
async def test_axe_finds_nothing(
    browser: Browser,
    bus: Bus,
    state: Callable[[Page, HubProcess, Bus], Awaitable[None]],
    theme: str,
    language: str,
) -> None:
    """In every state, light and dark, from left to right and from right to left."""
    port = free_port()
    hub = HubProcess(bus, WebSettings(allowed_origins=(f"http://127.0.0.1:{port}",)), extras=True)
    await hub.start()
    attributes = {
        "open": "true",
        "language": language,
        "theme": theme,
        "suggestions": "What is it?|And that?",
    }
    async with hosting(hub.url, port=port, **attributes) as origin:
        page = await browser.new_page(viewport={"width": 1000, "height": 800}, reduced_motion="reduce")
        await page.goto(origin)
        await expect(page.locator("section[data-state=online]")).to_have_count(1)
        await state(page, hub, bus)
        await page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")

        assert await problems(page) == []
        await page.close()
    await hub.stop()


async def test_axe_finds_nothing_on_a_phone(browser: Browser, full_hub: HubProcess, bus: Bus) -> None:
    """The sheet over the whole screen, on the hub's own page, which is looked at with it."""
    page = await browser.new_page(
        viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True, reduced_motion="reduce"
    )
    await page.goto(full_hub.url)
    await page.evaluate(AXE_SCRIPT)
    await page.get_by_role("button", name="Open chat").tap()
    await full_hub.answer(await ask(page, bus), "Here [1].", SOURCE)
    await expect(page.locator(".entry")).to_have_attribute("data-state", "done")
    result: dict[str, Any] = await page.evaluate("axe.run({ resultTypes: ['violations'] })")

    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in result["violations"]] == []
    await page.close()
