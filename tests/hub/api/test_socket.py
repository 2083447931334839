"""GET /ws/generate: requests over a socket."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from hub.api import socket as socket_module
from hub.settings import ApiSettings
from tests.hub.api.model_engine import ModelEngine
from tests.hub.api.serving import Api, serving
from tests.servers.redis import RedisServer

WAIT_S = 30


class Client:
    """One client with its socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, **message: Any) -> None:
        """Send a message."""
        await self.socket.send_json(message)

    async def receive(self) -> Any:
        """Receive the next message."""
        async with asyncio.timeout(WAIT_S):
            return await self.socket.receive_json()

    async def until(self, *kinds: str) -> list[Any]:
        """Receive up to a message of one of these kinds."""
        found = [await self.receive()]
        while found[-1]["type"] not in kinds:
            found.append(await self.receive())
        return found

    async def ask(self, **message: Any) -> list[Any]:
        """Send a request and receive everything up to its end."""
        await self.send(**message)
        return await self.until("final", "error")

    async def closed(self) -> int | None:
        """Receive up to the end; returns the code."""
        async with asyncio.timeout(WAIT_S):
            while not self.socket.closed:
                await self.socket.receive()
        return self.socket.close_code


@contextlib.asynccontextmanager
async def connected(api: Api, headers: dict[str, str] | None = None, **options: Any) -> AsyncIterator[Client]:
    """Connect with a key in the header, and be greeted."""
    headers = await api.new_key() if headers is None else headers
    async with api.session.ws_connect(f"{api.url}/ws/generate", headers=headers, **options) as opened:
        client = Client(opened)
        if headers:
            assert (await client.receive())["type"] == "ready"
        yield client


async def test_an_answer_comes_piece_by_piece(bare_api: Api, models: ModelEngine) -> None:
    """The turn, the text with its offsets, the whole answer with what it cost."""
    async with connected(bare_api) as client:
        messages = await client.ask(id="a", model="echo", prompt="one two three", max_tokens=2)

    kinds = [message["type"] for message in messages]
    assert (kinds[0], kinds[-1], set(kinds[1:-1])) == ("turn", "final", {"delta"})
    assert {message["id"] for message in messages} == {"a"}
    pieces = [message for message in messages if message["type"] == "delta"]
    assert "".join(piece["text"] for piece in pieces) == messages[-1]["response"] == "one two"
    assert pieces[0]["offset"] == 0
    assert (messages[-1]["model"], messages[-1]["usage"]["finish"]) == ("echo", "length")


async def test_the_key_may_come_in_the_first_message(bare_api: Api, models: ModelEngine) -> None:
    """For clients that cannot set headers; nothing is answered before it."""
    key = (await bare_api.new_key())["X-API-Key"]

    async with connected(bare_api, {}) as client:
        await client.send(api_key=key)
        ready = await client.receive()
        answer = (await client.ask(prompt="Hi"))[-1]

    assert ready["type"] == "ready"
    assert (answer["response"], answer["model"]) == ("You said: Hi", "hubbub")
    assert answer["sources"][0]["title"] == "Guide"


async def test_several_requests_follow_one_another(bare_api: Api, models: ModelEngine) -> None:
    """One socket, in a session and outside of one; one request at a time."""
    async with connected(bare_api) as client:
        first = (await client.ask(model="echo", prompt="one", session_id="s"))[-1]
        second = (await client.ask(model="echo", prompt="two", session_id="s"))[-1]
        alone = (await client.ask(model="echo", prompt="three"))[-1]
        await client.send(id="x", model="slow", prompt="one two")
        await client.until("delta")
        busy = (await client.ask(id="y", model="echo", prompt="four"))[-1]
        models.slow.may_go_on.set()
        last = (await client.until("final"))[-1]

    assert [answer["response"] for answer in (first, second, alone, last)] == [
        "one",
        "two",
        "three",
        "one two",
    ]
    assert first["session_id"] == second["session_id"] == "s" != alone["session_id"]
    assert [message.text for message in models.echo.prompts[1]] == ["one", "one", "two"]
    assert (busy["id"], busy["status"], busy["code"]) == ("y", 409, "in_progress")


async def test_a_request_is_cancelled(bare_api: Api, models: ModelEngine) -> None:
    """The model stops, the client is told, and the socket goes on."""
    async with connected(bare_api) as client:
        nothing = await client.ask(type="cancel")
        await client.send(id="x", model="slow", prompt="one two")
        await client.until("delta")
        await client.send(type="cancel")
        end = (await client.until("final", "error"))[-1]
        async with asyncio.timeout(WAIT_S):
            await models.slow.was_stopped.wait()
        after = (await client.ask(model="echo", prompt="still here"))[-1]

    assert nothing[-1]["code"] == "not_found"
    assert (end["id"], end["code"]) == ("x", "cancelled")
    assert after["response"] == "still here"


async def test_clients_that_vanish_free_their_turns(bare_api: Api, models: ModelEngine) -> None:
    """Twenty of a hundred disappear without a word; the others are answered, and nothing is left behind."""
    keys = [await bare_api.new_key() for _ in range(4)]

    async def work(number: int) -> str:
        async with connected(bare_api, keys[number % 4]) as client:
            if number % 5 == 0:
                await client.send(model="slow", prompt=f"one {number}")
                await client.until("delta")
                transport = client.socket.get_extra_info("socket")
                assert transport is not None
                client.socket._response.connection.transport.abort()  # type: ignore[union-attr]
                return "gone"
            return str((await client.ask(model="echo", prompt=f"one {number}"))[-1]["response"])

    with capture_logs() as logs:
        async with asyncio.timeout(120):
            answers = await asyncio.gather(*(work(number) for number in range(100)))
            while await bare_api.parts.bus.backlog():
                await asyncio.sleep(0.01)

    assert answers == ["gone" if n % 5 == 0 else f"one {n}" for n in range(100)]
    assert not [entry for entry in logs if entry["log_level"] in ("error", "critical")]


async def test_a_client_that_takes_nothing_is_let_go(
    bare_api: Api, models: ModelEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it is bounded; its turn is cancelled like one of a client that has left."""
    monkeypatch.setattr(socket_module, "SEND_TIMEOUT_S", 0.5)
    request = orjson.dumps({"model": "echo", "prompt": "x" * 60_000})
    # Masked with zeros. Source: RFC 6455, section 5.2.
    frame = b"\x81\xff" + len(request).to_bytes(8, "big") + bytes(4) + request

    with capture_logs() as logs, socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(silent, ("127.0.0.1", bare_api.port))
        await loop.sock_sendall(silent, await _handshake(bare_api))
        async with asyncio.timeout(WAIT_S * 3):
            while not (gone := _told(logs, "socket_too_slow")):
                # Those that come while another is answered are refused, which it does not read either.
                with contextlib.suppress(ConnectionError):
                    await loop.sock_sendall(silent, frame)
                await asyncio.sleep(0.01)
            while await bare_api.parts.bus.backlog():
                await asyncio.sleep(0.01)

    assert gone
    assert len(models.seen) > 1


async def _handshake(api: Api) -> bytes:
    headers = {
        "Host": "x",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **await api.new_key(),
    }
    lines = [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(["GET /ws/generate HTTP/1.1", *lines, "", ""]).encode()


def _told(logs: list[Any], event: str) -> bool:
    return any(entry["event"] == event for entry in logs)


async def test_limits_hold_for_each_request(bare_api: Api, models: ModelEngine) -> None:
    """The eleventh of a free key is told when to come again; a revoked key opens nothing more."""
    headers = await bare_api.new_key("free")
    async with connected(bare_api, headers) as client:
        answers = [(await client.ask(model="echo", prompt="x"))[-1] for _ in range(11)]
        await bare_api.parts.keys.revoke(headers["X-API-Key"].split("_")[2])
        revoked = (await client.ask(model="echo", prompt="x"))[-1]

    assert [answer["type"] for answer in answers] == ["final"] * 10 + ["error"]
    assert (answers[-1]["status"], answers[-1]["code"]) == (429, "rate_limited")
    assert answers[-1]["retry_after_s"] >= 1
    assert (revoked["status"], revoked["code"]) == (401, "unauthorized")


BAD: list[tuple[str, str]] = [
    ("[]", "invalid_json"),
    ("{", "invalid_json"),
    ('{"prompt":NaN}', "invalid_json"),
    ('{"prompt":"a","prompt":"b"}', "invalid_json"),
    ("[" * 5000, "invalid_json"),
    ("{}", "invalid_fields"),
    ('{"prompt":5}', "invalid_fields"),
    ('{"prompt":""}', "invalid_fields"),
    ('{"prompt":"x","messages":[]}', "invalid_fields"),
    ('{"prompt":"x","colour":"blue"}', "invalid_fields"),
    ('{"prompt":"x","type":"auth"}', "invalid_fields"),
    ('{"prompt":"x","id":5}', "invalid_fields"),
    ('{"type":"cancel","turn":"1"}', "invalid_fields"),
    ('{"prompt":"x","session_id":"a:b"}', "invalid_id"),
    ('{"prompt":"x","model":"gpt-9"}', "model_not_found"),
]


async def test_bad_messages_get_an_error_each(bare_api: Api, models: ModelEngine) -> None:
    """Whatever it is, the socket stays; only who sends nothing that is JSON is let go."""
    headers = await bare_api.new_key()
    for text, code in BAD:
        async with connected(bare_api, headers) as client:
            await client.socket.send_str(text)
            assert (await client.until("error"))[-1]["code"] == code, text
            assert (await client.ask(model="echo", prompt="x"))[-1]["type"] == "final", text

    async with connected(bare_api, headers) as client:
        for _ in range(3):
            await client.socket.send_str("rubbish")
        assert await client.closed() == 1007


async def test_frames_have_a_limit(redis: Redis, redis_server: RedisServer, data: Path) -> None:
    """Binary frames are 1003, larger ones than a body may be 1009."""
    settings = ApiSettings(port=0, max_body_bytes=10_000)
    async with serving(redis_server.url, data, api=settings) as api:
        codes = []
        for payload in (b"x", "x" * 10_001):
            async with connected(api) as client:
                if isinstance(payload, bytes):
                    await client.socket.send_bytes(payload)
                else:
                    await client.socket.send_str(payload)
                codes.append(await client.closed())

    assert codes == [1003, 1009]


async def test_nobody_stays_without_a_key(redis: Redis, redis_server: RedisServer, data: Path) -> None:
    """Late, wrong or none: closed with 4401; a wrong header does not even get a socket."""
    settings = ApiSettings(port=0, read_timeout_s=0.5)
    async with serving(redis_server.url, data, api=settings) as api:
        codes = []
        for first in (None, '{"api_key":"wrong"}', '{"prompt":"x"}', "{"):
            async with connected(api, {}) as client:
                if first is not None:
                    await client.socket.send_str(first)
                codes.append(await client.closed())
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await api.session.ws_connect(f"{api.url}/ws/generate", headers={"X-API-Key": "wrong"})

    assert codes == [4401] * 4
    assert refused.value.status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://{host}.evil.example"}, 403),
        ({"Origin": "http://{host}"}, 101),
        ({"Origin": "https://hub.example.org"}, 101),
        ({"Sec-WebSocket-Version": "8"}, 400),
        ({"Upgrade": "h2c"}, 426),
        ({}, 101),
    ],
)
async def test_pages_of_other_sites_open_no_socket(
    redis: Redis, redis_server: RedisServer, data: Path, headers: dict[str, str], status: int
) -> None:
    """Programs send no Origin; the hub's own pages send the hub's."""
    settings = ApiSettings(port=0, public_url="https://hub.example.org/chat")
    async with serving(redis_server.url, data, api=settings) as api:
        sent = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            **{name: value.format(host=f"127.0.0.1:{api.port}") for name, value in headers.items()},
        }
        async with api.session.get(f"{api.url}/ws/generate", headers=sent | await api.new_key()) as response:
            assert response.status == status


async def test_a_closing_server_says_so(redis: Redis, redis_server: RedisServer, data: Path) -> None:
    """The request that waits is told where its answer will be, then the socket closes with 1012."""
    async with serving(redis_server.url, data) as api, connected(api) as client:
        await client.send(id="x", prompt="Hi")
        await client.until("turn")
        api.parts.stopping.set()
        end = (await client.until("error"))[-1]
        code = await client.closed()

    assert (end["id"], end["code"], code) == ("x", "restarting", 1012)
