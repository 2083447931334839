"""A browser with the hub's own page open, and the hub behind it."""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.browser import WAIT_MS, chromium
from tests.connectors.web.edges import Bus, HubProcess


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests of a file."""
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def hub(bus: Bus) -> AsyncIterator[HubProcess]:
    """Run one process of the hub on the browser's loop."""
    process = HubProcess(bus)
    await process.start()
    yield process
    await process.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """Return a browser profile of its own."""
    profile = await browser.new_context(viewport={"width": 1280, "height": 800})
    profile.set_default_timeout(WAIT_MS)
    yield profile
    await profile.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(context: BrowserContext, hub: HubProcess) -> Page:
    """Open the hub's own page, the chat open as it is on a wide screen."""
    opened = await context.new_page()
    await opened.goto(hub.url)
    await expect(opened.locator(".state")).to_have_text("Online")
    return opened
