"""Text that comes in lumps is shown as if it were being written, and ends to the character."""

import asyncio
import itertools

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.connectors.web.edges import SOURCE, Bus, HubProcess
from tests.connectors.web.widget.reading import answer, ask, wait_for_text, whole_answer, whole_text

pytestmark = pytest.mark.asyncio(loop_scope="module")

SENTENCES = "Set the token of the bot, 👩‍🚀👍🏽 included, and then start the hub again. " * 6
LAG_MS = 800
FRAME_MS = 16

SAMPLE = """() => {
  const root = document.querySelector('hubbub-chat').shadowRoot;
  window.samples = [];
  (function look() {
    const text = [...root.querySelectorAll('.entry .body:not(:has(.dots))')].at(-1)?.textContent ?? '';
    const extra = root.querySelectorAll('.source, .meta').length;
    const last = samples.at(-1);
    if (!last || last.text !== text || last.extra !== extra) {
      samples.push({ text, extra, at: performance.now(), lost: !text.isWellFormed() });
    }
    requestAnimationFrame(look);
  })();
}"""
IS_LAST = "last => samples.at(-1)?.text === last"


@pytest_asyncio.fixture(loop_scope="module")
async def calm_page(browser: Browser, hub: HubProcess) -> Page:
    """Open the page for somebody who asked their system for less motion."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    opened = await context.new_page()
    await opened.goto(hub.url)
    await expect(opened.locator(".state")).to_have_text("Online")
    return opened


async def play(page: Page, last: str) -> None:
    """Let time pass on a paused page, frame by frame, until this is the text of the newest answer."""
    async with asyncio.timeout(60):
        while not await page.evaluate(IS_LAST, last):
            await page.clock.run_for(FRAME_MS)


async def texts(page: Page, last: str) -> list[str]:
    """Return every text of the newest answer that was on the screen, in order, once `last` is there."""
    await page.wait_for_function(IS_LAST, arg=last)
    return list(await page.evaluate("samples.map((sample) => sample.text).filter(Boolean)"))


async def test_lump_of_text_becomes_visible_bit_by_bit(paused_page: Page, bus: Bus) -> None:
    """It grows on the screen frame by frame, by whole characters, and is all there in time."""
    turn = await ask(paused_page, bus)
    await paused_page.evaluate(SAMPLE)
    bus.say(turn, SENTENCES)
    await play(paused_page, SENTENCES.strip())

    seen = await texts(paused_page, SENTENCES.strip())
    times = await paused_page.evaluate("samples.filter((sample) => sample.text).map((sample) => sample.at)")
    assert len(seen) > 20
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(seen))
    assert max(len(later) - len(earlier) for earlier, later in itertools.pairwise(seen)) < len(SENTENCES) / 10
    assert times[-1] - times[0] < LAG_MS
    assert not await paused_page.evaluate("samples.some((sample) => sample.lost)")


async def test_sources_come_after_the_text(paused_page: Page, hub: HubProcess, bus: Bus) -> None:
    """Sources, time and copy button wait until the answer can be read."""
    turn = await ask(paused_page, bus)
    await paused_page.evaluate(SAMPLE)
    await hub.answer(turn, f"{SENTENCES}[1]", SOURCE)
    await play(paused_page, f"{SENTENCES}1")
    await paused_page.clock.run_for(LAG_MS)

    assert len(await texts(paused_page, f"{SENTENCES}1")) > 20
    assert await paused_page.evaluate("samples.findIndex((sample) => sample.extra) === samples.length - 1")
    assert await whole_text(paused_page) == f"{SENTENCES}1"


async def test_final_that_differs_replaces_what_was_shown(page: Page, hub: HubProcess, bus: Bus) -> None:
    """Whatever was on its way to the screen, the durable text is what stays there."""
    for final in ("Short.", SENTENCES.upper().strip(), ""):
        turn = await ask(page, bus)
        bus.say(turn, SENTENCES)
        await expect(answer(page)).to_contain_text("Set")
        await hub.answer(turn, final)

        assert await whole_text(page) == final


async def test_markup_never_shows_as_signs(paused_page: Page, bus: Bus) -> None:
    """Links, bold text and code come whole, so that nothing flickers."""
    shown = ("Read the first page of the book and run it. " * 8).strip()
    turn = await ask(paused_page, bus)
    await paused_page.evaluate(SAMPLE)
    bus.say(turn, "Read **the first page** of [the book](https://example.org/book) and `run it`. " * 8)
    await play(paused_page, shown)

    seen = await texts(paused_page, shown)
    assert len(seen) > 20
    assert not [text for text in seen if set(text) & set("*[]`")]


async def test_focus_stays_on_a_link_while_the_text_grows(page: Page, bus: Bus) -> None:
    """The answer is drawn anew with every frame; who has reached a link by Tab keeps it."""
    turn = await ask(page, bus)
    bus.say(turn, "[The book](https://example.org/book) ")
    await page.get_by_role("link", name="The book").focus()
    bus.say(turn, SENTENCES)
    await wait_for_text(page, f"The book {SENTENCES}".strip())

    await expect(page.get_by_role("link", name="The book")).to_be_focused()


async def test_reset_in_the_middle_shows_the_new_text_alone(page: Page, bus: Bus) -> None:
    """Another worker starts while the first text is still being shown."""
    turn = await ask(page, bus)
    bus.say(turn, SENTENCES)
    await expect(answer(page)).to_contain_text("Set")
    bus.reset(turn)
    bus.say(turn, "Anew.")

    await wait_for_text(page, "Anew.")


async def test_less_motion_shows_text_at_once(calm_page: Page, bus: Bus) -> None:
    """`prefers-reduced-motion`: a lump is on the screen with the next frame."""
    turn = await ask(calm_page, bus)
    await calm_page.evaluate(SAMPLE)
    bus.say(turn, SENTENCES)

    assert await texts(calm_page, SENTENCES.strip()) == [SENTENCES.strip()]
    await calm_page.context.close()


async def test_hidden_tab_has_the_text_at_once(page: Page, bus: Bus) -> None:
    """Who comes back to the tab reads on, without waiting for what came meanwhile."""
    turn = await ask(page, bus)
    await page.evaluate("Object.defineProperty(document, 'hidden', { value: true })")
    await page.evaluate(SAMPLE)
    bus.say(turn, SENTENCES)

    assert await texts(page, SENTENCES.strip()) == [SENTENCES.strip()]


async def test_history_is_there_at_once(page: Page, hub: HubProcess, bus: Bus) -> None:
    """After a reload nothing is written out again, also when the answer came while the page was away."""
    turn = await ask(page, bus)
    await page.add_init_script(f"addEventListener('DOMContentLoaded', () => ({SAMPLE})())")
    bus.reply(turn, SENTENCES, SOURCE)
    await page.reload()

    assert await texts(page, SENTENCES.strip()) == [SENTENCES.strip()]
    await expect(page.locator(".source")).to_be_visible()


async def test_whole_answer_is_read_out_once(page: Page, hub: HubProcess, bus: Bus) -> None:
    """A screen reader hears the final text, and nothing while it is being shown."""
    await page.evaluate(
        "window.heard = []; new MutationObserver(() => heard.push(spoken.textContent)).observe("
        "window.spoken = document.querySelector('hubbub-chat').shadowRoot.querySelector('[aria-live=polite]'),"
        " { childList: true, characterData: true, subtree: true })"
    )
    turn = await ask(page, bus)
    bus.say(turn, SENTENCES)
    await hub.answer(turn, SENTENCES)
    await whole_answer(page)

    assert await page.evaluate("heard") == [f"Hubbub: {SENTENCES}"]
