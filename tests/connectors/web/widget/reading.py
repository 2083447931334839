"""What a visitor does and sees: asks, and reads the newest answer."""

from playwright.async_api import Locator, Page, expect

from tests.connectors.web.edges import Bus


async def ask(page: Page, bus: Bus, text: str = "Hello") -> str:
    """Type a question, send it and return its turn."""
    await page.locator("hubbub-chat textarea").fill(text)
    await page.keyboard.press("Enter")
    return await bus.next_turn()


def answer(page: Page) -> Locator:
    """Return the newest answer, which may still be growing: what is read of it has to be read until it fits."""
    return page.locator(".entry .body").last


async def whole_answer(page: Page) -> Locator:
    """Wait until the newest answer is final and all of it is on the screen, and return it: nothing of it changes any more."""
    await expect(page.locator(".entry").last).to_have_attribute("data-state", "done")
    return answer(page)


async def whole_text(page: Page) -> str:
    """Return the text of the newest answer to the character, once all of it is on the screen."""
    return str(await (await whole_answer(page)).evaluate("node => node.textContent"))


async def wait_for_text(page: Page, text: str) -> None:
    """Wait until the newest answer is exactly this text."""
    await page.wait_for_function(
        "text => [...document.querySelector('hubbub-chat').shadowRoot.querySelectorAll('.entry .body')]"
        ".at(-1)?.textContent === text",
        arg=text,
    )
