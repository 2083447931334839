"""A browser with the hub's own page open, and the hub behind it."""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.browser import WAIT_MS, chromium
from tests.connectors.web.edges import Bus, HubProcess

PAUSE_MS = 10_000
"""How far the clock is put on when it stops: more than passes between reading and stopping it."""


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


@pytest_asyncio.fixture(loop_scope="module")
async def paused_page(context: BrowserContext, hub: HubProcess) -> Page:
    """Open the page with its clock stopped: `play` alone lets time pass, so a slow machine loses no frames."""
    opened = await context.new_page()
    await opened.clock.install()
    await opened.goto(hub.url)
    await expect(opened.locator(".state")).to_have_text("Online")
    await opened.clock.pause_at(await opened.evaluate("Date.now()") + PAUSE_MS)
    return opened


@pytest_asyncio.fixture(loop_scope="module")
async def full_hub(bus: Bus) -> AsyncIterator[HubProcess]:
    """Run one process that takes feedback and files, and mails answers."""
    process = HubProcess(bus, extras=True)
    await process.start()
    yield process
    await process.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def full_page(context: BrowserContext, full_hub: HubProcess) -> Page:
    """Open the page of a hub that takes feedback and files, and mails answers."""
    opened = await context.new_page()
    await opened.goto(full_hub.url)
    await expect(opened.locator(".state")).to_have_text("Online")
    return opened
