"""The hub's own page in a real browser, with the real engine behind it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser import chromium
from tests.connectors.web.widget.reading import whole_text
from tests.hub_process import HubProcess

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

TELEGRAM = "How do I connect Telegram?"
ANSWER_MS = 60_000
SAMPLE = """() => {
  const root = document.querySelector('hubbub-chat').shadowRoot;
  window.lengths = [];
  (function look() {
    const text = root.querySelector('.entry .body:not(:has(.dots))')?.textContent ?? '';
    if (lengths.at(-1) !== text.length) lengths.push(text.length);
    requestAnimationFrame(look);
  })();
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Run Chromium."""
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubProcess]:
    """Run a hub as `make run` starts it."""
    async with HubProcess(tmp_path_factory.mktemp("hub") / "data") as running:
        yield running


async def test_visitor_asks_reads_and_comes_back(browser: Browser, hub: HubProcess) -> None:
    """A click asks, the text grows, its source opens, a reload keeps it all, and typing goes on."""
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(hub.url)
    await expect(page.locator(".state")).to_have_text("Online")
    await page.evaluate(SAMPLE)

    await page.get_by_role("button", name=TELEGRAM).click()
    await _answered(page, 1)
    lengths = await page.evaluate("lengths")
    text = await whole_text(page)
    assert "HUBBUB_TELEGRAM__TOKEN" in text
    assert len(lengths) > 5
    assert lengths[1] < lengths[-1]

    await page.locator(".cite").first.click()
    await expect(page.locator(".source blockquote").first).to_be_visible()
    await expect(page.locator(".source .location").first).to_contain_text(".md")

    await page.reload()
    await expect(page.locator(".visitor .bubble")).to_have_text(f"You: {TELEGRAM}")
    assert await whole_text(page) == text
    await expect(page.locator(".source").first).to_be_visible()

    await page.get_by_label("Your message").fill("How do I add documents?")
    await page.keyboard.press("Enter")
    await _answered(page, 2)
    await expect(page.locator(".entry .body").last).to_contain_text("ingest")
    assert complaints == []
    await page.close()


async def _answered(page: Page, count: int) -> None:
    done = page.locator(".entry[data-state=done]")
    await expect(done).to_have_count(count, timeout=ANSWER_MS)


async def test_every_example_is_answered_from_the_documents(browser: Browser, hub: HubProcess) -> None:
    """What the page itself proposes to ask gets an answer with its source, under the heading it asks for."""
    page = await browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    await page.goto(hub.url)
    examples = await page.locator(".questions button, .chips button").all_text_contents()
    assert len(examples) == 5

    for count, text in enumerate(examples, 1):
        await page.get_by_label("Your message").fill(text)
        await page.keyboard.press("Enter")
        await _answered(page, count)
        sources = page.locator(".entry").last.locator(".source .where")
        await expect(sources.first).to_have_text(text)
    await page.close()
