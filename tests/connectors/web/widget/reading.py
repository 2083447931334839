"""What a visitor does and sees: asks, and reads the newest answer."""

from playwright.async_api import Locator, Page

from tests.connectors.web.edges import Bus


async def ask(page: Page, bus: Bus, text: str = "Hello") -> str:
    """Type a question, send it and return its turn."""
    await page.get_by_label("Your message").fill(text)
    await page.keyboard.press("Enter")
    return await bus.next_turn()


def answer(page: Page) -> Locator:
    """Return the newest answer."""
    return page.locator(".entry .body").last


async def shown(page: Page) -> str:
    """Return the text of the newest answer to the character."""
    return str(await answer(page).evaluate("node => node.textContent"))


async def wait_for_text(page: Page, text: str) -> None:
    """Wait until the newest answer is exactly this text."""
    await page.wait_for_function(
        "text => [...document.querySelector('hubbub-chat').shadowRoot.querySelectorAll('.entry .body')]"
        ".at(-1)?.textContent === text",
        arg=text,
    )
