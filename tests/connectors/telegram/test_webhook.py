"""The webhook refuses cheaply, keeps what is broken out, and never says 200 for a message that was not stored."""

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
import pytest

from connectors.telegram.connector import TelegramConnector
from connectors.telegram.ports import Ports
from connectors.telegram.webhook import MAX_BODY_BYTES, PATH, SECRET_HEADER
from hub.errors import BusError, BusFull, SettingsError
from hub.settings import TelegramSettings
from hubbub.testing import MemoryStore
from tests.connectors.telegram.harness import CHAT, Edge, edge
from tests.emulators.bot_api import BotApi

GOOD: dict[str, Any] = {
    "update_id": 1,
    "message": {
        "message_id": 1,
        "date": 1_700_000_000,
        "chat": {"id": CHAT, "type": "private"},
        "from": {"id": CHAT, "is_bot": False, "first_name": "P"},
        "text": "hello",
    },
}


def _with(**changes: Any) -> bytes:
    return json.dumps(GOOD | {"message": GOOD["message"] | changes}).encode()


class Answer(NamedTuple):
    """What the webhook said."""

    status: int
    body: bytes
    retry_after: str


async def _post(hub: Edge, body: Any, headers: Any = None) -> Answer:
    assert hub.telegram.webhook is not None
    if headers is None:
        headers = [(SECRET_HEADER, hub.telegram.webhook.secret or "")]
    async with (
        aiohttp.ClientSession() as client,
        client.post(
            hub.url + PATH, data=body, headers=headers, skip_auto_headers=["Content-Type"]
        ) as response,
    ):
        return Answer(response.status, await response.read(), response.headers.get("Retry-After", ""))


async def test_good_update_is_answered_with_an_empty_object(telegram: BotApi) -> None:
    """200 and `{}`: Telegram would carry out a method named there."""
    async with edge(telegram) as hub:
        response = await _post(hub, json.dumps(GOOD).encode())

        assert response[:2] == (200, b"{}")
    assert hub.bus.texts == ["hello"]


async def test_only_telegram_gets_in(telegram: BotApi) -> None:
    """Absent, wrong, foreign, doubled and odd secrets are the same 401 with an empty body."""
    async with edge(telegram) as hub:
        assert telegram.webhook is not None
        secret = telegram.webhook.secret or ""
        attempts: list[list[tuple[str, str]]] = [
            [],
            [(SECRET_HEADER, "")],
            [(SECRET_HEADER, "x" * len(secret))],
            [(SECRET_HEADER, secret[:-1])],
            [(SECRET_HEADER, "geheim-äöü")],
            [(SECRET_HEADER, secret), (SECRET_HEADER, secret)],
            [(SECRET_HEADER, "bad"), (SECRET_HEADER, secret)],
            [("X-Forwarded-For", "149.154.167.197")],
        ]
        for headers in attempts:
            response = await _post(hub, json.dumps(GOOD).encode(), headers)

            assert response[:2] == (401, b""), headers
        assert (await _post(hub, b"{}", [(SECRET_HEADER, "x" * 10_240)])).status == 400
    assert not hub.bus.accepted
    assert not hub.quarantined


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("empty", b""),
        ("broken", b"{"),
        ("utf-16", json.dumps(GOOD).encode("utf-16")),
        ("invalid utf-8", json.dumps(GOOD).encode().replace(b"hello", b"he\xff\xfello")),
        ("5,000 digits", json.dumps(GOOD).encode().replace(b"1700000000", b"9" * 5000)),
        ("NaN", json.dumps(GOOD).encode().replace(b"1700000000", b"NaN")),
        ("Infinity", json.dumps(GOOD).encode().replace(b"1700000000", b"-Infinity")),
        ("1e999", json.dumps(GOOD).encode().replace(b"1700000000", b"1e999")),
        ("double names", b'{"update_id": 1, "update_id": 2}'),
        ("deep", b'{"update_id": 1, "message": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        ("many values", b'{"update_id": 1, "message": [' + b"[]," * 300_000 + b"1]}"),
        ("deep objects", b'{"a":' * 70 + b"1" + b"}" * 70),
        ("list", b"[]"),
        ("string", b'"x"'),
        ("number", b"1"),
        ("null", b"null"),
        ("no update_id", json.dumps({"message": GOOD["message"]}).encode()),
        ("two kinds", json.dumps(GOOD | {"poll": {}}).encode()),
        ("message null", json.dumps(GOOD | {"message": None}).encode()),
        ("message list", json.dumps(GOOD | {"message": []}).encode()),
        ("no chat", json.dumps(GOOD | {"message": {"message_id": 1, "date": 1}}).encode()),
        ("chat id string", _with(chat={"id": "4711", "type": "private"})),
        ("chat id true", _with(chat={"id": True, "type": "private"})),
        ("message id string", _with(message_id="1")),
        ("text is a number", _with(text=5)),
        ("date is a text", _with(date="soon")),
        ("text of 1 MB", _with(text="x" * 1_000_000)),
        *(
            (f"update_id {bad!r}", json.dumps(GOOD | {"update_id": bad}).encode())
            for bad in ("x", -1, 2**63, 1.5, True)
        ),
    ],
)
async def test_what_can_never_be_valid_is_put_aside(telegram: BotApi, name: str, body: bytes) -> None:
    """200, so that Telegram does not repeat it for a day; quarantined with its reason."""
    async with edge(telegram) as hub:
        response = await _post(hub, body)

        assert response[:2] == (200, b"{}")
    [(source, reason, kept)] = hub.quarantined
    assert (source, kept) == ("telegram", body)
    assert reason
    assert not hub.bus.accepted


@pytest.mark.parametrize(
    ("name", "body", "text"),
    [
        ("byte order mark", b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), "hello"),
        ("unknown fields", _with(news_of_2031={"a": [1]}), "hello"),
        (
            "no sender",
            json.dumps({"update_id": 1, "message": {**GOOD["message"], "from": None}}).encode(),
            "hello",
        ),
        ("date of 1970", _with(date=0), "hello"),
        ("date of 2106", _with(date=4_294_967_295), "hello"),
        ("lone surrogate", _with(text="a\ud800b"), "a\ufffdb"),
        (
            "lone surrogate in a name",
            _with(chat={"id": 1, "type": "private", "first_name": "\udc00"}),
            "hello",
        ),
        ("NUL and escape", _with(text="a\x00\x1b[2Jb"), "a[2Jb"),
        ("entity beyond the text", _with(entities=[{"type": "bold", "offset": 9_999, "length": 5}]), "hello"),
        ("entity below zero", _with(entities=[{"type": "mention", "offset": -5, "length": -5}]), "hello"),
        ("10,000 entities", _with(entities=[{"type": "bold", "offset": 0, "length": 1}] * 10_000), "hello"),
        ("a very deep text", _with(text="[" * 4096), "[" * 4096),
    ],
)
async def test_odd_but_valid_updates_are_accepted(
    telegram: BotApi, name: str, body: bytes, text: str
) -> None:
    """Strict does not mean narrow."""
    async with edge(telegram) as hub:
        assert (await _post(hub, body)).status == 200
    assert hub.bus.texts == [text]
    assert not hub.quarantined


async def test_large_bodies_are_refused(telegram: BotApi) -> None:
    """413, whether the size is declared or found out while reading; nothing compressed is unpacked."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 65_536 + 2):
            yield b" " * 65_536

    async with edge(telegram) as hub:
        assert telegram.webhook is not None
        secret = telegram.webhook.secret or ""
        assert (await _post(hub, io.BytesIO(b" " * (MAX_BODY_BYTES + 1)))).status == 413
        assert (await _post(hub, endless())).status == 413
        packed = gzip.compress(b" " * 10_000_000)
        headers = [(SECRET_HEADER, secret), ("Content-Encoding", "gzip")]
        assert (await _post(hub, packed, headers)).status == 415
    assert not hub.quarantined


async def test_slow_body_is_given_up(telegram: BotApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """408 once the time to read is over, and the connection is closed."""
    monkeypatch.setattr("connectors.telegram.webhook.READ_TIMEOUT_S", 0.1)
    async with edge(telegram) as hub:
        assert telegram.webhook is not None
        host, port = hub.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{SECRET_HEADER}: {telegram.webhook.secret}\r\nContent-Length: 50\r\n\r\n{{"
        writer.write(head.encode())
        async with asyncio.timeout(30):
            answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 408")
    assert b"Connection: close" in answer


@pytest.mark.parametrize(("failure", "wait"), [(BusError("Redis is away"), "5"), (BusFull(7.2), "8")])
async def test_overload_asks_telegram_to_come_back(telegram: BotApi, failure: BusError, wait: str) -> None:
    """503 with Retry-After: Telegram keeps the update."""
    async with edge(telegram) as hub:
        hub.bus.failure = failure

        response = await _post(hub, json.dumps(GOOD).encode())

        assert (response.status, response.retry_after) == (503, wait)


async def test_webhook_waits_for_the_connector(telegram: BotApi) -> None:
    """Before `run` is ready, and after it has ended, the answer is 503."""
    async with edge(telegram) as hub:
        assert (await _post(hub, json.dumps(GOOD).encode())).status == 200
        hub.running.cancel()
        await asyncio.gather(hub.running, return_exceptions=True)

        assert (await _post(hub, json.dumps(GOOD).encode())).status == 503


async def test_webhook_is_set_with_a_secret_of_its_own(telegram: BotApi) -> None:
    """The secret comes from the token but does not show it, and every process derives the same."""
    async with edge(telegram), edge(telegram):
        await telegram.until(lambda: len(telegram.called("setWebhook")) == 2)
        first, second = telegram.called("setWebhook")

    assert first["secret_token"] == second["secret_token"]
    assert len(first["secret_token"]) == 64
    assert first["url"].endswith(PATH)
    assert first["allowed_updates"] == [
        "message",
        "edited_message",
        "callback_query",
        "my_chat_member",
        "stopped_message_generation",
    ]
    assert not first.get("drop_pending_updates")


@pytest.mark.parametrize(
    "values", [{"token": "1:a", "webhook_secret": "mit Leerzeichen"}, {"token": "no token"}]
)
async def test_impossible_settings_are_refused_by_name(values: dict[str, str]) -> None:
    """The text names the setting and not its value."""

    async def quarantine(source: str, reason: str, body: bytes) -> None:
        raise AssertionError

    ports = Ports(store=MemoryStore(), quarantine=quarantine)
    with pytest.raises(SettingsError, match=r"telegram\.\w+: expected") as refused:
        TelegramConnector(TelegramSettings.model_validate(values), "", ports)

    assert "Leerzeichen" not in str(refused.value)
    assert "no token" not in str(refused.value)
