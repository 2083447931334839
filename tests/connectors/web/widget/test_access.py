"""The widget without a mouse, without eyes on it, and on a small screen."""

import pytest
from playwright.async_api import Browser, Page, expect

from tests.connectors.web.edges import SOURCE, Bus, HubProcess
from tests.connectors.web.widget.reading import answer, ask

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_keyboard_is_enough(page: Page, hub: HubProcess, bus: Bus) -> None:
    """Open, write on two lines, send, close: focus is always where a person expects it."""
    await page.reload()
    await page.get_by_role("button", name="Close chat").last.click()
    launcher = page.get_by_role("button", name="Open chat: Hubbub")
    await expect(launcher).to_be_focused()
    await expect(launcher).to_have_attribute("aria-expanded", "false")

    await page.keyboard.press("Enter")
    field = page.get_by_label("Your message")
    await expect(field).to_be_focused()
    await page.keyboard.type("Line one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("line two")
    await page.keyboard.press("Enter")
    turn = await bus.next_turn()
    assert bus.messages[turn].text == "Line one\nline two"
    await hub.answer(turn, "Done [1].", SOURCE)
    await expect(page.locator(".source")).to_be_visible()
    await page.keyboard.press("Shift+Tab")  # the disabled send button is skipped
    for _ in range(8):
        if (
            await page.evaluate("document.querySelector('hubbub-chat').shadowRoot.activeElement.className")
            == "cite"
        ):
            break
        await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator(".source summary")).to_be_focused()
    await page.keyboard.press("Escape")

    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(launcher).to_be_focused()


async def test_screen_reader_hears_names_and_whole_answers(page: Page, hub: HubProcess, bus: Bus) -> None:
    """Dialog, log and buttons have names; an answer is read out once, when it is whole."""
    await expect(page.get_by_role("dialog", name="Hubbub")).to_be_visible()
    await expect(page.get_by_role("log", name="Hubbub")).to_have_attribute("aria-live", "off")
    turn = await ask(page, bus)
    bus.say(turn, "Half of ")
    await expect(answer(page)).to_have_attribute("aria-busy", "true")
    spoken = page.locator("[aria-live=polite]")
    await expect(spoken).to_have_text("")
    await hub.answer(turn, "Half of it, and the rest.")

    await expect(spoken).to_have_text("Hubbub: Half of it, and the rest.")
    await expect(answer(page)).to_have_attribute("aria-busy", "false")


async def test_answer_to_a_closed_chat_is_counted(page: Page, hub: HubProcess, bus: Bus) -> None:
    """A badge and the launcher's name tell how many answers wait, also after a reload."""
    turns = [await ask(page, bus, "One"), await ask(page, bus, "Two")]
    await page.get_by_role("button", name="Close chat").last.click()
    for turn in turns:
        await hub.answer(turn, "Here.")

    await expect(page.locator(".badge")).to_have_text("2")
    await page.set_viewport_size(
        {"width": 1000, "height": 800}
    )  # the page opens the chat on wide screens only
    await page.reload()
    await expect(page.locator(".badge")).to_have_text("2")
    await page.get_by_role("button", name="Open chat: Hubbub, 2 unread").click()
    await expect(page.locator(".badge")).to_be_hidden()


async def test_phone_gets_a_full_sheet(browser: Browser, hub: HubProcess) -> None:
    """On a small screen the chat starts closed and fills the screen when it is opened."""
    page = await browser.new_page(
        viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True, reduced_motion="reduce"
    )
    await page.goto(hub.url)
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await page.get_by_role("button", name="Open chat").tap()
    dialog = page.get_by_role("dialog")
    await dialog.evaluate("node => Promise.all(node.getAnimations().map((animation) => animation.finished))")

    assert await dialog.bounding_box() == {"x": 0, "y": 0, "width": 390, "height": 780}
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
    await page.close()


async def test_focus_stays_in_the_sheet(browser: Browser, full_hub: HubProcess, bus: Bus) -> None:
    """Tab goes round in it in both directions: the page below it cannot be seen."""
    page = await browser.new_page(viewport={"width": 390, "height": 780}, reduced_motion="reduce")
    await page.goto(full_hub.url)
    await page.get_by_role("button", name="Open chat").click()
    await expect(page.locator(".state")).to_have_text("Online")
    await full_hub.answer(await ask(page, bus), "Here [1].", SOURCE)
    await expect(page.locator(".source")).to_be_visible()
    await expect(page.get_by_role("dialog")).to_have_attribute("aria-modal", "true")

    for key in ("Tab", "Shift+Tab"):
        seen = set()
        for _ in range(25):
            await page.keyboard.press(key)
            seen.add(
                await page.evaluate(
                    "(() => { const root = document.querySelector('hubbub-chat').shadowRoot;"
                    " return root.activeElement && root.querySelector('.panel').contains(root.activeElement)"
                    " ? root.activeElement.getAttribute('aria-label') || root.activeElement.className : 'outside' })()"
                )
            )
        assert "outside" not in seen, key
        assert {"Your message", "Attach files", "Close chat", "Good answer", "log"} <= seen, key
    await page.close()


async def test_sheet_ends_above_the_keyboard_of_a_phone(browser: Browser, hub: HubProcess) -> None:
    """It is as high as what the keyboard leaves, and where the browser has moved the page to."""
    page = await browser.new_page(
        viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True, reduced_motion="reduce"
    )
    await page.goto(hub.url)
    await page.get_by_role("button", name="Open chat").tap()
    await page.evaluate(
        "Object.defineProperties(visualViewport, { height: { value: 400 }, offsetTop: { value: 120 } });"
        "visualViewport.dispatchEvent(new Event('resize'))"
    )

    assert await page.get_by_role("dialog").bounding_box() == {"x": 0, "y": 120, "width": 390, "height": 400}
    await page.close()


async def test_forced_colours_leave_outlines(browser: Browser, full_hub: HubProcess, bus: Bus) -> None:
    """Where the system takes all backgrounds away, bubbles, buttons and the panel have borders."""
    page = await browser.new_page(viewport={"width": 1280, "height": 800}, forced_colors="active")
    await page.goto(full_hub.url)
    await expect(page.locator(".state")).to_have_text("Online")
    await full_hub.answer(await ask(page, bus), "Here.")
    await expect(page.locator(".entry")).to_have_attribute("data-state", "done")

    for selector in (".panel", ".launcher", ".visitor .bubble", ".assistant .bubble", ".send"):
        style = "node => getComputedStyle(node).borderTopStyle"
        assert await page.locator(selector).first.evaluate(style) == "solid", selector
    await page.close()
