"""An answer that takes long may go by mail."""

import asyncio

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.connectors.web.edges import Bus, HubProcess
from tests.connectors.web.widget.reading import ask

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAUSE_MS = 10_000
OFFER = "Get the answer by e-mail if you leave"


async def test_who_waits_long_may_leave_an_address(
    context: BrowserContext, full_hub: HubProcess, bus: Bus
) -> None:
    """After a quarter of a minute; the line is gone with the answer."""
    page = await context.new_page()
    await page.clock.install()
    await page.goto(full_hub.url)
    await expect(page.locator(".state")).to_have_text("Online")
    await page.clock.pause_at(await page.evaluate("Date.now()") + PAUSE_MS)
    turn = await ask(page, bus)
    await page.clock.run_for(14_000)
    await expect(page.get_by_role("group", name=OFFER)).to_be_hidden()
    await page.clock.run_for(2_000)
    offer = page.get_by_role("group", name=OFFER)
    await expect(offer).to_be_visible()

    await page.get_by_label("Your e-mail address").fill("ada")
    await page.get_by_role("button", name="Save").click()
    await expect(offer).to_contain_text("This is not an e-mail address.")
    await page.get_by_label("Your e-mail address").fill("ada@example.org")
    await page.keyboard.press("Enter")
    await expect(page.locator(".offer")).to_contain_text("If you leave, the answer goes to ada@example.org.")
    await full_hub.answer(turn, "Here.")

    await expect(page.locator(".offer")).to_be_hidden()
    await page.clock.run_for(1_000)
    await expect(page.locator(".entry")).to_have_attribute("data-state", "done")
    async with asyncio.timeout(30):
        while bus.store.sets["due"]:  # until the hub has read that the page has the answer
            await asyncio.sleep(0.01)


async def test_who_closes_the_chat_is_asked(full_page: Page, full_hub: HubProcess, bus: Bus) -> None:
    """While an answer is still to come, beside the launcher; whoever says no is not asked again."""
    await ask(full_page, bus)
    await full_page.get_by_role("button", name="Close chat").last.click()
    offer = full_page.get_by_role("group", name=OFFER)
    await expect(offer).to_be_visible()
    await expect(full_page.get_by_role("button", name="Open chat: Hubbub")).to_be_focused()
    await full_page.get_by_role("button", name="Dismiss").click()
    await expect(offer).to_be_hidden()
    await full_page.get_by_role("button", name="Open chat: Hubbub").click()
    await full_page.get_by_role("button", name="Close chat").last.click()

    await expect(full_page.get_by_role("dialog")).to_be_hidden()
    await expect(offer).to_be_hidden()


async def test_address_left_at_the_launcher_is_kept(full_page: Page, full_hub: HubProcess, bus: Bus) -> None:
    """The hub has it with the conversation."""
    turn = await ask(full_page, bus)
    await full_page.get_by_role("button", name="Close chat").last.click()
    await full_page.get_by_label("Your e-mail address").fill("ada@example.org")
    await full_page.keyboard.press("Enter")
    await expect(full_page.locator(".offer")).to_contain_text("the answer goes to ada@example.org")

    conversation = bus.messages[turn].conversation
    assert '"ada@example.org"' in (await bus.store.get(f"leave:{conversation}") or "")
    await full_page.get_by_role("button", name="Open chat: Hubbub").click()
    await expect(full_page.locator("footer .offer")).to_be_visible()


async def test_nobody_is_asked_where_no_mail_is_sent(page: Page, bus: Bus) -> None:
    """Nor when nothing is on its way."""
    await ask(page, bus)
    await page.get_by_role("button", name="Close chat").last.click()

    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(page.locator(".offer")).to_be_hidden()
