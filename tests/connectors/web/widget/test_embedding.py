"""The widget and the pages that hold it: policies, origins and styles."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import BrowserContext, expect

from hub.web_settings import WebSettings
from tests.connectors.web.edges import SOURCE, Bus, HubProcess
from tests.connectors.web.widget.reading import answer, ask

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_page_asks_nobody_else_and_breaks_no_rule(
    context: BrowserContext, hub: HubProcess, bus: Bus
) -> None:
    """All requests go to the hub, and neither the page nor the widget trips over the page's strict policy."""
    page = await context.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("websocket", lambda socket: requests.append(socket.url.replace("ws:", "http:")))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(hub.url)
    await hub.answer(await ask(page, bus), "**Hello** [1]", SOURCE)
    await expect(answer(page)).to_have_text("Hello 1")

    assert complaints == []
    assert {url.startswith(hub.url) for url in requests} == {True}
    assert f"{hub.url}/ws/chat" in requests


PAGE = """<!doctype html><title>Shop</title>
<style>* {{ display: inline; color: red !important; font: 40px serif; }} button {{ visibility: hidden }}</style>
<body><p>Shop</p>
<script src="{hub}/widget.js" async data-title="Shop help" data-color="#ffd400" data-position="left"
  data-greeting="Welcome!"></script>"""


@pytest_asyncio.fixture(loop_scope="module")
async def shop(hub: HubProcess) -> AsyncIterator[str]:
    """Serve a page of somebody else, with a policy and styles of its own; return its origin."""
    policy = f"default-src 'none'; script-src {hub.url}; connect-src {hub.url.replace('http', 'ws')}; style-src 'unsafe-inline'"

    async def index(_: web.Request) -> web.Response:
        return web.Response(
            text=PAGE.format(hub=hub.url),
            content_type="text/html",
            headers={"Content-Security-Policy": policy},
        )

    app = web.Application()
    app.add_routes([web.get("/", index)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_widget_works_on_a_page_of_somebody_else(
    context: BrowserContext, hub: HubProcess, bus: Bus, shop: str
) -> None:
    """One tag: title, colour and side from its attributes, its look untouched by the page's styles."""
    port = hub.port
    await hub.stop()
    allowing = HubProcess(bus, WebSettings(allowed_origins=(shop,)))
    allowing.port = port
    await allowing.start()
    page = await context.new_page()
    await page.goto(shop)
    launcher = page.get_by_role("button", name="Open chat: Shop help")
    box = await launcher.bounding_box()
    await launcher.click()
    await expect(page.locator(".welcome .bubble p")).to_have_text("Welcome!")
    turn = await ask(page, bus)
    await allowing.answer(turn, "Hello!")
    await expect(answer(page)).to_have_text("Hello!")
    style = await page.locator(".visitor .bubble").evaluate(
        "node => { const style = getComputedStyle(node); return [style.backgroundColor, style.color, style.fontSize] }"
    )

    assert box is not None
    assert box["x"] < 100
    assert style == ["rgb(255, 212, 0)", "rgb(20, 20, 31)", "15px"]
    assert bus.messages[turn].address.account == shop
    await allowing.stop()


async def test_page_that_is_not_allowed_gets_no_conversation(
    context: BrowserContext, hub: HubProcess, bus: Bus, shop: str
) -> None:
    """Without its origin in the settings a page never connects, and says so where its owner looks."""
    page = await context.new_page()
    warned = asyncio.Event()
    page.on("console", lambda message: warned.set() if "web.allowed_origins" in message.text else None)
    await page.goto(shop)
    await page.get_by_role("button", name="Open chat: Shop help").click()
    await expect(page.locator(".state")).to_have_text("Reconnecting…")
    async with asyncio.timeout(20):
        await warned.wait()

    assert not bus.messages
