"""Judging an answer, and copying it or its code."""

import pytest
from playwright.async_api import Page, expect

from tests.connectors.web.edges import SOURCE, Bus, HubProcess, NoProgress
from tests.connectors.web.widget.reading import ask

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_answer_is_judged_by_a_click(full_page: Page, full_hub: HubProcess, bus: Bus) -> None:
    """A second click takes it back; the button keeps the focus and tells its state, also after a reload."""
    turn = await ask(full_page, bus)
    await full_hub.answer(turn, "Here.")
    good, bad = (full_page.get_by_role("button", name=name) for name in ("Good answer", "Bad answer"))
    await good.click()
    await expect(good).to_have_attribute("aria-pressed", "true")
    await expect(good).to_be_focused()
    await expect(full_page.locator("[aria-live=polite]")).to_have_text("Thank you for your feedback.")
    await bad.click()
    await expect(good).to_have_attribute("aria-pressed", "false")
    await bad.click()
    await expect(bad).to_have_attribute("aria-pressed", "false")
    await good.click()

    taken = [await bus.judgements.taken.get() for _ in range(4)]
    assert [(judged[0], judged[3]) for judged in taken] == [
        (turn, value) for value in ("up", "down", "", "up")
    ]
    await full_page.reload()
    await expect(good).to_have_attribute("aria-pressed", "true")


async def test_only_answers_are_judged(full_page: Page, full_hub: HubProcess, bus: Bus) -> None:
    """Neither a stopped one nor what the hub says itself."""
    turn = await ask(full_page, bus)
    notice = bus.reply(turn, "Done.").model_copy(update={"kind": "notice"})
    await full_hub.connector.send(notice, NoProgress())
    await expect(full_page.locator(".entry[data-state=done]")).to_have_count(1)
    await ask(full_page, bus)
    await full_page.keyboard.press("Escape")
    await expect(full_page.locator(".entry[data-state=done]")).to_have_count(2)

    await expect(full_page.locator(".judge")).to_have_count(0)


async def test_answer_and_code_are_copied_exactly(full_page: Page, full_hub: HubProcess, bus: Bus) -> None:
    """The answer as Markdown, a block of code without its fence."""
    await full_page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    text = "Run **this**:\n\n```py\nprint('<b>')\n\tx = 1\n```\n[1]"
    await full_hub.answer(await ask(full_page, bus), text, SOURCE)
    await full_page.get_by_role("button", name="Copy answer").click()
    assert await full_page.evaluate("navigator.clipboard.readText()") == text
    await full_page.get_by_role("button", name="Copy code").click()

    assert await full_page.evaluate("navigator.clipboard.readText()") == "print('<b>')\n\tx = 1"


@pytest.mark.parametrize(
    ("location", "href"),
    [
        ("https://docs.example.org/a?b=c", "https://docs.example.org/a?b=c"),
        ("http://docs.example.org/", "http://docs.example.org/"),
        ("javascript:alert(1)", None),
        ("https:alert(1)", None),
        ("docs/telegram.md", None),
        ("data:text/html,x", None),
    ],
)
async def test_source_links_to_the_web_alone(
    full_page: Page, full_hub: HubProcess, bus: Bus, location: str, href: str | None
) -> None:
    """Whatever a document was added from: its title, heading and sentences are shown, a link only where one leads."""
    source = SOURCE.model_copy(update={"location": location})
    await full_hub.answer(await ask(full_page, bus), "See [1].", source)
    await full_page.get_by_role("button", name="Source 1").click()

    await expect(full_page.locator(".source .location")).to_have_text(location)
    links = await full_page.locator(".source a").evaluate_all("nodes => nodes.map((node) => node.href)")
    assert links == ([href] if href else [])


async def test_hub_that_keeps_no_feedback_shows_no_thumbs(page: Page, hub: HubProcess, bus: Bus) -> None:
    """Nor a paper clip where nobody reads files."""
    await hub.answer(await ask(page, bus), "Here.")
    await expect(page.get_by_role("button", name="Copy answer")).to_be_visible()

    await expect(page.locator(".judge")).to_have_count(0)
    await expect(page.locator(".clip")).to_be_hidden()
