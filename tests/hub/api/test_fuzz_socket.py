"""Frames nobody thought of on /ws/generate: each is answered or ends its socket, and the next client is served."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from structlog.testing import capture_logs

from hub.api.problems import SERVER
from hub.limits import Limit
from hub.settings import KeySettings, TierSettings
from tests.fuzzing import tried_on_one
from tests.hub.api.model_engine import ModelEngine
from tests.hub.api.serving import Api, serving
from tests.servers.redis import RedisServer

UNLIMITED = KeySettings(tiers={"own": TierSettings(limit=10_000_000)}, self_service=False)
KINDS = {"ready", "turn", "waiting", "delta", "reset", "final", "error"}
CODES = {
    "invalid_json", "invalid_fields", "invalid_id", "in_progress", "not_found", "cancelled", "model_not_found",
    "option_refused", "context_length_exceeded", "too_large", "unauthorized",
}  # fmt: skip
"""What a request on a socket may be refused with while everything works."""

FIELDS = [
    "type",
    "id",
    "prompt",
    "messages",
    "session_id",
    "model",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
]
FIELDS += [
    "min_p",
    "repeat_penalty",
    "seed",
    "stop",
    "json_schema",
    "grammar",
    "logit_bias",
    "raw",
    "use_cache",
]
FIELDS += ["stream", "api_key", "role"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
SCALARS |= st.sampled_from(["generate", "cancel", "echo", "hubbub", "s1", "user", "general"])
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
REQUESTS = st.fixed_dictionaries(
    {"model": st.just("echo"), "prompt": st.text(min_size=1, max_size=20)},
    optional={"id": st.text(max_size=8), "max_tokens": st.integers(1, 4), "session_id": st.just("s1")},
)
DOCUMENTS = (
    REQUESTS
    | st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=5)
    | st.builds(
        lambda one, more: {**one, **more},
        REQUESTS,
        st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=2),
    )
)
TEXTS = (
    DOCUMENTS.map(json.dumps)
    | st.text(max_size=40)
    | st.sampled_from(
        ["{", "[" * 5000, "null", '{"type":"cancel"}', '{"prompt":"a","prompt":"b"}', "9" * 5000]
    )
)
FRAMES = TEXTS | st.binary(max_size=20)


@pytest.fixture
async def api(
    redis: Redis, redis_server: RedisServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Api]:
    """A server whose engine answers at once; nobody is slowed down."""
    monkeypatch.setattr("hub.api.auth.FAILED_LOGINS", Limit(requests=10_000_000, window_s=60))
    async with serving(redis_server.url, data, keys=UNLIMITED) as running:
        engine = ModelEngine(running)
        engine.slow.may_go_on.set()
        await engine.start()
        await running.parts.live.ready.wait()
        running.headers = await running.new_key()
        yield running


async def _receive_to(socket: aiohttp.ClientWebSocketResponse, last: str) -> list[Any]:
    """Receive what is told up to the end of the request `last`, which is asked until nothing else is in the way."""
    told: list[Any] = []
    asked = json.dumps({"id": last, "model": "echo", "prompt": "one two"})
    await socket.send_str(asked)
    while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
        told.append(json.loads(message.data))
        is_ours = told[-1].get("id") == last
        if is_ours and told[-1]["type"] == "error" and told[-1]["code"] == "in_progress":
            await socket.send_str(asked)
        elif is_ours and told[-1]["type"] in ("final", "error"):
            break
    return told


@given(frames=st.lists(FRAMES, min_size=1, max_size=6), has_key=st.booleans())
@tried_on_one(80)
async def test_every_frame_is_answered_or_ends_the_socket(
    api: Api, frames: Sequence[str | bytes], has_key: bool
) -> None:
    """By words of the protocol; what comes behind on the same socket, or else on the next one, is answered."""
    last, headers = secrets.token_hex(6), api.headers if has_key else {}
    with capture_logs() as logs:
        async with (
            asyncio.timeout(20),
            api.session.ws_connect(f"{api.url}/ws/generate", headers=headers) as socket,
        ):
            try:
                for frame in frames:
                    await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))
                told = await _receive_to(socket, last)
            except ConnectionError:
                # It was closed while more was sent.
                told = []

    assert {one["type"] for one in told} <= KINDS
    assert {one["code"] for one in told if one["type"] == "error"} <= CODES
    assert all(400 <= one["status"] < 500 for one in told if one["type"] == "error")
    has_ended = bool(told) and told[-1].get("id") == last
    assert has_ended or socket.close_code in (1003, 1006, 1007, 4401), (told, socket.close_code)
    assert has_key or not has_ended
    assert not [line for line in logs if line["log_level"] in ("error", "critical")]


def _frame(first: int, size: int, mask: bytes | None, payload: bytes) -> bytes:
    """Write a frame, whose size need not be that of what it carries."""
    masked = 0x80 if mask is not None else 0
    if size < 126:
        head = bytes([first, masked | size])
    elif size < 2**16:
        head = bytes([first, masked | 126]) + size.to_bytes(2)
    else:
        head = bytes([first, masked | 127]) + size.to_bytes(8)
    key = mask or b""
    return head + key + (bytes(byte ^ key[at % 4] for at, byte in enumerate(payload)) if key else payload)


PAYLOADS = DOCUMENTS.map(lambda one: json.dumps(one).encode()) | st.binary(max_size=20)
MASKS = st.binary(min_size=4, max_size=4)
RAW = (
    st.builds(lambda mask, payload: _frame(0x81, len(payload), mask, payload), MASKS, PAYLOADS)
    | st.builds(_frame, st.integers(0, 255), st.integers(0, 2**63), MASKS | st.none(), PAYLOADS)
    | st.builds(
        lambda first, mask, payload: _frame(first, len(payload), mask, payload),
        st.integers(0, 255),
        MASKS,
        PAYLOADS,
    )
    | st.binary(max_size=30)
)


@given(frames=st.lists(RAW, min_size=1, max_size=5))
@tried_on_one(80)
async def test_whatever_bytes_follow_the_handshake_the_next_client_is_served(
    api: Api, frames: Sequence[bytes]
) -> None:
    """Fragments, reserved bits and codes, sizes that are not true, no mask, and no frames at all."""
    with capture_logs() as logs:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        writer.write(
            f"GET /ws/generate HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"X-API-Key: {api.headers['X-API-Key']}\r\n\r\n".encode()
        )
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert f"Server: {SERVER}".encode() in head
            writer.write(b"".join(frames))
            writer.write_eof()
            # The server lets go of it by itself: what was declared does not come any more.
            await reader.read()
        writer.close()

        async with (
            asyncio.timeout(20),
            api.session.ws_connect(f"{api.url}/ws/generate", headers=api.headers) as socket,
        ):
            told = await _receive_to(socket, "next")

    assert [one["type"] for one in (told[0], told[-1])] == ["ready", "final"]
    assert told[-1]["response"] == "one two"
    assert not [line for line in logs if line["log_level"] in ("error", "critical")]
