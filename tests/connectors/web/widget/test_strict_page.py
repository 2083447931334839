"""The widget on a page that allows next to nothing, for a site with a key whose visitors are signed in."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, FilePayload, Page, expect
from pydantic import SecretStr

from hub.web_settings import WebSettings, WebSiteSettings
from tests.connectors.web.edges import SOURCE, Bus, HubProcess
from tests.connectors.web.signing import SECRET, sign, soon
from tests.connectors.web.widget.hosting import STRICT, hosting
from tests.connectors.web.widget.reading import answer, ask
from tests.servers.redis import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def shop(bus: Bus) -> AsyncIterator[tuple[str, HubProcess]]:
    """Run a hub and a page of its site `shop`; give the page's origin and the hub."""
    hub_port, shop_port = free_port(), free_port()
    origin = f"http://127.0.0.1:{shop_port}"
    site = WebSiteSettings(
        key="shop",
        origins=(origin,),
        title="Shop help",
        greeting="Welcome!",
        messages_per_visitor_day=2,
        identity_secret=SecretStr(SECRET.decode()),
    )
    hub = HubProcess(bus, WebSettings(sites=(site,)), extras=True)
    hub.port = hub_port
    await hub.start()
    async with hosting(hub.url, policy=STRICT, port=shop_port, site="shop", color="#0a7d55"):
        yield origin, hub
    await hub.stop()


async def test_policy_is_kept_to_the_letter(
    context: BrowserContext, shop: tuple[str, HubProcess], bus: Bus
) -> None:
    """No inline style, no markup as text, nothing loaded from elsewhere: and all of it works."""
    origin, hub = shop
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(origin)
    await page.get_by_role("button", name=re.compile("Open chat")).click()
    await expect(page.get_by_role("heading", name="Shop help")).to_be_visible()
    await expect(page.locator(".welcome .bubble p")).to_have_text("Welcome!")
    async with page.expect_file_chooser() as chosen:
        await page.get_by_role("button", name="Attach files").click()
    await (await chosen.value).set_files(FilePayload(name="a.txt", mimeType="text/plain", buffer=b"x"))
    await expect(page.locator(".files li[data-state=ready]")).to_have_count(1)
    turn = await ask(page, bus)
    await hub.answer(turn, "**Hello** [1]\n\n```\ncode\n```", SOURCE)
    await expect(answer(page).locator("strong")).to_have_text("Hello")
    await page.get_by_role("button", name="Source 1").click()
    await page.get_by_role("button", name="Good answer").click()
    assert (await bus.judgements.taken.get())[3] == "up"
    style = await page.locator(".visitor .bubble").evaluate("node => getComputedStyle(node).backgroundColor")

    assert style == "rgb(10, 125, 85)"
    assert len(bus.messages[turn].attachments) == 1
    assert [text for text in complaints if "favicon" not in text] == []


async def test_person_signed_in_by_the_site_comes_back_on_another_browser(
    context: BrowserContext, shop: tuple[str, HubProcess], bus: Bus
) -> None:
    """The page hands the signature over; another one changes the conversation, none ends it."""
    origin, hub = shop
    page = await open_chat(context, origin)
    await page.evaluate("token => Hubbub.identify(token)", sign(sub="1", exp=soon()))
    await expect(page.locator(".state")).to_have_text("Online")
    turn = await ask(page, bus, "Where is my parcel?")
    await hub.answer(turn, "On its way.")
    await expect(answer(page)).to_have_text("On its way.")

    await page.evaluate("Hubbub.identify('')")
    await expect(page.locator(".entry")).to_have_count(0)
    await page.evaluate("token => Hubbub.identify(token)", sign(sub="1", exp=soon()))
    await expect(answer(page)).to_have_text("On its way.")
    assert bus.messages[turn].address.person == "site:shop:1"
    assert bus.messages[turn].address.is_verified


async def test_what_one_person_wrote_is_not_sent_for_another(
    context: BrowserContext, shop: tuple[str, HubProcess], bus: Bus
) -> None:
    """Ada has written, and Bob signs in before there was a connection; her own new signature changes nothing."""
    origin, _ = shop
    page = await open_chat(context, origin)
    ada, again, bob = (
        sign(sub="ada", exp=soon()),
        sign(sub="ada", exp=soon() + 1),
        sign(sub="bob", exp=soon()),
    )
    await page.evaluate(
        "([ada, bob]) => { Hubbub.identify(ada); Hubbub.ask('Secret of Ada'); Hubbub.identify(bob); }",
        [ada, bob],
    )
    await expect(page.locator(".state")).to_have_text("Online")
    turn = await ask(page, bus, "Hello of Bob")
    assert bus.messages[turn].address.person == "site:shop:bob"

    await page.evaluate(
        "([ada, again]) => { Hubbub.identify(ada); Hubbub.ask('Of Ada'); Hubbub.identify(again); }",
        [ada, again],
    )
    turn = await bus.next_turn()

    assert bus.messages[turn].address.person == "site:shop:ada"
    assert [message.text for message in bus.messages.values()] == ["Hello of Bob", "Of Ada"]


async def test_signature_that_has_ended_is_asked_for_again(
    context: BrowserContext, shop: tuple[str, HubProcess], bus: Bus
) -> None:
    """The page hears of it and hands a new one over."""
    origin, _ = shop
    page = await open_chat(context, origin)
    await page.evaluate("window.asked = 0; addEventListener('hubbub:identity', () => (window.asked += 1))")
    await page.evaluate("token => Hubbub.identify(token)", sign(sub="2", exp=soon() - 4300))
    # Waiting in the page itself would need an eval, which this page does not allow.
    async with asyncio.timeout(20):
        while not await page.evaluate("window.asked > 0"):
            await asyncio.sleep(0.05)
    await page.evaluate("token => Hubbub.identify(token)", sign(sub="2", exp=soon()))
    await expect(page.locator(".state")).to_have_text("Online")
    turn = await ask(page, bus)

    assert bus.messages[turn].address.person == "site:shop:2"


async def test_limit_of_the_day_is_told(
    context: BrowserContext, shop: tuple[str, HubProcess], bus: Bus
) -> None:
    """The question stays on the page and is not sent again."""
    page = await open_chat(context, shop[0])
    for number in range(2):
        await ask(page, bus, f"Number {number}")
    await page.get_by_label("Your message").fill("One more")
    await page.keyboard.press("Enter")

    await expect(page.locator(".status").last).to_have_text("The limit for today is reached.")
    assert len(bus.messages) == 2


async def test_other_pages_cannot_show_the_hubs_page(hub: HubProcess, context: BrowserContext) -> None:
    """Its page names itself as the only one that may frame it."""
    page = await context.new_page()
    response = await page.goto(hub.url)

    assert response
    assert "frame-ancestors 'self'" in response.headers["content-security-policy"]


async def open_chat(context: BrowserContext, origin: str) -> Page:
    """Open the chat on a page."""
    page = await context.new_page()
    await page.goto(origin)
    await page.get_by_role("button", name=re.compile("Open chat")).click()
    await expect(page.locator(".state")).to_have_text("Online")
    return page
