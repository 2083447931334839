"""The emulator refuses what the Bot API refuses, and a person's view of a chat is exact."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.emulators.bot_api import BotApi


@pytest.fixture
async def telegram() -> AsyncIterator[BotApi]:
    """Run an emulator with one open chat."""
    async with BotApi() as api:
        api.chat(1)
        yield api


async def _call(telegram: BotApi, method: str, token: str = "", **arguments: Any) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{telegram.url}/bot{token or telegram.token}/{method}", json=arguments) as response,
    ):
        body: dict[str, Any] = await response.json()
        assert response.status == body.get("error_code", 200)
        return body


BUTTON = {"text": "x", "callback_data": "x" * 65}


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("sendMessage", {"chat_id": 1, "text": " "}, "message text is empty"),
        ("sendMessage", {"chat_id": 1, "text": "x" * 4097}, "message is too long"),
        ("sendMessage", {"chat_id": 1, "text": "😀" * 2049}, "message is too long"),
        ("sendMessage", {"chat_id": 2, "text": "x"}, "chat not found"),
        ("sendMessage", {"chat_id": 1}, "text: Field required"),
        ("sendMessage", {"chat_id": 1, "text": "x", "parse_mode": "HTML"}, "can't parse entities"),
        (
            "sendMessage",
            {"chat_id": 1, "text": "x", "reply_parameters": {"message_id": 9}},
            "replied not found",
        ),
        ("sendMessageDraft", {"chat_id": 1, "draft_id": 0, "text": "x"}, "draft_id must be non-zero"),
        ("sendMessageDraft", {"chat_id": -7, "draft_id": 1, "text": "x"}, "TEXTDRAFT_PEER_INVALID"),
        ("editMessageText", {"chat_id": 1, "message_id": 9, "text": "x"}, "message to edit not found"),
        ("editMessageText", {"chat_id": 1, "message_id": 1, "text": "x"}, "message can't be edited"),
        ("editMessageReplyMarkup", {"chat_id": 1, "message_id": 9}, "message to edit not found"),
        ("deleteMessages", {"chat_id": 1, "message_ids": []}, "not specified"),
        ("answerCallbackQuery", {"callback_query_id": "0"}, "query is too old"),
        ("getFile", {"file_id": "none"}, "invalid file_id"),
        ("getFile", {"file_id": "large"}, "file is too big"),
        (
            "sendMessage",
            {"chat_id": 1, "text": "x", "reply_markup": {"inline_keyboard": [[BUTTON]]}},
            "BUTTON_DATA",
        ),
        ("setWebhook", {"url": "http://example.org"}, "HTTPS"),
        ("setWebhook", {"url": "https://example.org", "secret_token": "a b"}, "secret token"),
        ("setWebhook", {"url": "https://example.org", "max_connections": 101}, "max_connections"),
        ("noSuchMethod", {}, "Not Found"),
    ],
)
async def test_wrong_calls_are_refused(
    telegram: BotApi, method: str, arguments: dict[str, Any], error: str
) -> None:
    """Each with Telegram's own words."""
    telegram.chat(-7, "supergroup")
    telegram.message(1, "a person's")
    telegram.files["large"] = b""
    telegram.file_sizes["large"] = 20 * 1024 * 1024 + 1

    answer = await _call(telegram, method, **arguments)

    assert not answer["ok"]
    assert error in answer["description"]
    assert telegram.answers(1) == []


@pytest.mark.parametrize(("offset", "length"), [(0, 9), (-1, 1), (0, 0), (1, 1)])
async def test_entities_must_lie_on_the_text(telegram: BotApi, offset: int, length: int) -> None:
    """Beyond it, before it, empty, or inside a surrogate pair: refused."""
    entity = {"type": "bold", "offset": offset, "length": length}

    answer = await _call(telegram, "sendMessage", chat_id=1, text="😀a", entities=[entity])

    assert "can't parse entities" in answer["description"]


async def test_wrong_token_is_unauthorised(telegram: BotApi) -> None:
    """401, as from Telegram, and the call is not recorded."""
    answer = await _call(telegram, "getMe", token="123456:wrong")

    assert answer["error_code"] == 401
    assert telegram.calls == []


async def test_chat_shows_sent_and_edited_text(telegram: BotApi) -> None:
    """Trimmed text, moved entities, and every earlier version."""
    entity = {"type": "bold", "offset": 2, "length": 3}
    sent = await _call(telegram, "sendMessage", chat_id=1, text="  one  ", entities=[entity])
    same = await _call(
        telegram, "editMessageText", chat_id=1, message_id=1, text="one", entities=[entity | {"offset": 0}]
    )
    await _call(telegram, "editMessageText", chat_id=1, message_id=sent["result"]["message_id"], text="two")

    [message] = telegram.messages(1)
    assert (message.text, message.edits, message.by_bot) == ("two", ["one"], True)
    assert "not modified" in same["description"]


async def test_draft_is_gone_with_the_message(telegram: BotApi) -> None:
    """A preview is seen until the real message comes."""
    await _call(telegram, "sendMessageDraft", chat_id=1, draft_id=5, text="so f")
    assert telegram.chat(1).visible_draft() == "so f"

    await _call(telegram, "sendMessage", chat_id=1, text="so far")

    assert telegram.chat(1).visible_draft() is None


async def test_updates_are_kept_until_a_higher_offset(telegram: BotApi) -> None:
    """Asking again gives the same; an offset forgets what is below it."""
    first, second = telegram.say(1, "a"), telegram.say(1, "b")
    for _ in range(2):
        answer = await _call(telegram, "getUpdates")
        assert [update["update_id"] for update in answer["result"]] == [first, second]

    assert len((await _call(telegram, "getUpdates", offset=second))["result"]) == 1
    assert list(telegram.pending) == [second]
    assert (await _call(telegram, "getUpdates", offset=second + 1))["result"] == []


async def test_long_polling_waits_for_an_update(telegram: BotApi) -> None:
    """The answer comes with the update; a second poller ends the first."""
    waiting = asyncio.create_task(_call(telegram, "getUpdates", timeout=30))
    await telegram.until(lambda: telegram.called("getUpdates"))
    other = asyncio.create_task(_call(telegram, "getUpdates", timeout=30))
    assert (await waiting)["error_code"] == 409

    telegram.say(1, "now")

    assert len((await other)["result"]) == 1


async def test_webhook_is_repeated_until_it_is_accepted(telegram: BotApi) -> None:
    """In order within a chat, with the secret; polling is refused meanwhile."""
    seen: list[tuple[str, str]] = []

    async def receive(request: web.Request) -> web.Response:
        update = await request.json()
        seen.append((update["message"]["text"], request.headers["X-Telegram-Bot-Api-Secret-Token"]))
        return web.Response(status=500 if len(seen) == 1 else 200)

    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        await _call(telegram, "setWebhook", url=url, secret_token="s3cret")
        telegram.say(1, "one")
        telegram.say(1, "two")
        await telegram.until(lambda: not telegram.pending)
    finally:
        await runner.cleanup()

    assert seen == [("one", "s3cret"), ("one", "s3cret"), ("two", "s3cret")]
    assert (await _call(telegram, "getUpdates"))["error_code"] == 409
    assert (await _call(telegram, "getWebhookInfo"))["result"]["url"] == url


async def test_faults_happen_on_command(telegram: BotApi) -> None:
    """Once each, in order, with Telegram's parameters; then all is well."""
    telegram.fail("sendMessage", 429, retry_after=7)
    telegram.fail("sendMessage", 403, "Forbidden: bot was blocked by the user")
    telegram.fail("sendMessage", reset="after")

    flood = await _call(telegram, "sendMessage", chat_id=1, text="a")
    blocked = await _call(telegram, "sendMessage", chat_id=1, text="b")
    with pytest.raises(aiohttp.ClientError):
        await _call(telegram, "sendMessage", chat_id=1, text="c")
    await _call(telegram, "sendMessage", chat_id=1, text="d")

    assert (flood["error_code"], flood["parameters"]) == (429, {"retry_after": 7})
    assert blocked["error_code"] == 403
    assert telegram.answers(1) == ["c", "d"]


async def test_files_can_be_fetched(telegram: BotApi) -> None:
    """The path comes by getFile, the content by the path."""
    telegram.files["f1"] = b"content"
    path = (await _call(telegram, "getFile", file_id="f1"))["result"]["file_path"]

    url = f"{telegram.url}/file/bot{telegram.token}/{path}"
    async with aiohttp.ClientSession() as client, client.get(url) as response:
        assert await response.read() == b"content"


async def test_a_button_is_pressed_and_answered_once(telegram: BotApi) -> None:
    """The update holds its data and the message it stands below; a second answer comes too late."""
    keyboard = {"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]}
    await _call(telegram, "sendMessage", chat_id=1, text="Sure?", reply_markup=keyboard)
    query = telegram.press(1, "Yes", person=5)
    [update] = (await _call(telegram, "getUpdates"))["result"]
    first = await _call(telegram, "answerCallbackQuery", callback_query_id=query, text="ok")
    second = await _call(telegram, "answerCallbackQuery", callback_query_id=query)
    await _call(telegram, "editMessageReplyMarkup", chat_id=1, message_id=1)

    assert update["callback_query"]["data"] == "y"
    assert update["callback_query"]["from"]["id"] == 5
    assert update["callback_query"]["message"]["reply_markup"] == keyboard
    assert (first["ok"], second["ok"], telegram.queries[query]) == (True, False, "ok")
    assert telegram.messages(1)[0].labels == []


async def test_messages_are_deleted_while_they_are_young(telegram: BotApi) -> None:
    """What is not there is skipped; what is older than 48 h is refused."""
    for text in ("a", "b"):
        await _call(telegram, "sendMessage", chat_id=1, text=text)

    assert (await _call(telegram, "deleteMessages", chat_id=1, message_ids=[1, 77]))["ok"]
    telegram.messages(1)[0].date -= 49 * 3600
    assert not (await _call(telegram, "deleteMessages", chat_id=1, message_ids=[2]))["ok"]

    assert telegram.answers(1) == ["b"]


async def test_failed_deliveries_are_told(telegram: BotApi) -> None:
    """Telegram says when and why, until the webhook is set anew."""
    await _call(telegram, "setWebhook", url="http://127.0.0.1:9/hook", allowed_updates=["message"])
    telegram.say(1, "one")
    await telegram.until(lambda: telegram.last_error)
    info = (await _call(telegram, "getWebhookInfo"))["result"]
    await _call(telegram, "setWebhook", url="http://127.0.0.1:9/hook")

    assert (info["last_error_message"], info["pending_update_count"]) == ("Connection refused", 1)
    assert (info["allowed_updates"], info["max_connections"]) == (["message"], 40)


async def test_a_group_that_moved_names_its_new_id(telegram: BotApi) -> None:
    """Both chats get a service message, and calls to the old one are refused with the new id."""
    telegram.upgrade(-5, -1005)
    updates = (await _call(telegram, "getUpdates"))["result"]
    refused = await _call(telegram, "sendMessage", chat_id=-5, text="x")

    assert [update["message"].get("migrate_to_chat_id") for update in updates] == [-1005, None]
    assert [update["message"].get("migrate_from_chat_id") for update in updates] == [None, -5]
    assert refused["parameters"] == {"migrate_to_chat_id": -1005}


async def test_another_process_can_be_steered() -> None:
    """The emulator runs on its own and takes orders by HTTP."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.emulators.bot_api", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as client:
            url, _, token = (await process.stdout.readline()).decode().split()
            async with client.post(f"{url}/control/say", json={"chat_id": 1, "text": "hi"}) as said:
                assert "update_id" in await said.json()
            async with client.post(
                f"{url}/bot{token}/sendMessage", json={"chat_id": 1, "text": "hello"}
            ) as sent:
                assert (await sent.json())["ok"]
            async with client.post(f"{url}/control/messages", json={"chat_id": 1}) as seen:
                assert [message["text"] for message in await seen.json()] == ["hi", "hello"]
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
