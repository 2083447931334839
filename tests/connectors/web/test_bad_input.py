"""What a broken or hostile client gets: a fixed answer each, and never an error of the server."""

import asyncio
import struct
from typing import Any

import pytest
from aiohttp import WSMsgType

from connectors.base import Accepted
from hub.errors import BusError, BusFull
from hub.web_settings import WebSettings
from tests.connectors.web.edges import UPGRADE, Bus, HubProcess
from tests.connectors.web.page import open_page


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        ("{", {"code": "bad_json"}),
        ("[1]", {"code": "bad_json"}),
        ('"text"', {"code": "bad_json"}),
        ("[" * 10_000, {"code": "bad_json"}),
        ('{"a":' * 3_000, {"code": "bad_json"}),
        ("1" * 6_000, {"code": "bad_json"}),
        ("", {"code": "bad_json"}),
        ("{}", {"code": "unknown_type"}),
        ('{"t": "admin"}', {"code": "unknown_type"}),
        ('{"t": ["message"]}', {"code": "unknown_type"}),
        ('{"t": null}', {"code": "unknown_type"}),
        ('{"t": "message", "text": "Hi"}', {"code": "bad_id"}),
        ('{"t": "message", "id": 5, "text": "Hi"}', {"code": "bad_id"}),
        ('{"t": "message", "id": "", "text": "Hi"}', {"code": "bad_id"}),
        ('{"t": "message", "id": "' + "x" * 300 + '", "text": "Hi"}', {"code": "bad_id"}),
        ('{"t": "message", "id": "a:b", "text": "Hi"}', {"code": "bad_id"}),
        ('{"t": "message", "id": "m1\\n", "text": "Hi"}', {"code": "bad_id"}),
        ('{"t": "message", "id": "m1"}', {"code": "bad_type", "id": "m1"}),
        ('{"t": "message", "id": "m1", "text": 5}', {"code": "bad_type", "id": "m1"}),
        ('{"t": "message", "id": "m1", "text": ["Hi"]}', {"code": "bad_type", "id": "m1"}),
        ('{"t": "message", "id": "m1", "text": null}', {"code": "bad_type", "id": "m1"}),
        ('{"t": "message", "id": "m1", "text": ""}', {"code": "empty", "id": "m1"}),
        ('{"t": "message", "id": "m1", "text": " \\u0000\\u200b\\n"}', {"code": "empty", "id": "m1"}),
        (
            '{"t": "message", "id": "m1", "text": "' + "x" * 8001 + '"}',
            {"code": "too_long", "id": "m1", "limit": 8000},
        ),
        ('{"t": "resume"}', {"code": "not_found"}),
        ('{"t": "resume", "turn": 5, "have": 0}', {"code": "not_found"}),
        ('{"t": "stop", "turn": "1700000000000-0"}', {"code": "not_found"}),
        ('{"t": "message", "id": "m1", "text": "Hi", "files": "a"}', {"code": "bad_type", "id": "m1"}),
        ('{"t": "history", "conversation": "web-hub-other"}', {"code": "not_found"}),
        ('{"t": "history", "conversation": {"a": 1}}', {"code": "not_found"}),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_unusable_frames_get_their_code(
    hub: HubProcess, bus: Bus, frame: str, error: dict[str, Any]
) -> None:
    """One error each, the socket stays, and nothing of the frame comes back but its id."""
    async with open_page(hub) as page:
        await page.socket.send_str(frame)
        assert await page.receive() == {"t": "err"} | error

        await page.ask("after")
    assert len(bus.messages) == 1


@pytest.mark.parametrize(
    "turn",
    ["1700000000000-0", "\ud800." + "A" * 43, "1700000000000-0." + "A" * 43, "", "x" * 9000],
    ids=["without signature", "surrogate", "forged", "empty", "long"],
)
async def test_resume_of_an_unknown_turn_closes(hub: HubProcess, turn: str) -> None:
    """As that of somebody else's does: nobody learns which turns there are."""
    async with open_page(hub) as page:
        await page.send(t="resume", turn=turn, have=0)

        assert await page.closed() == 4403


async def test_resume_after_a_day_starts_again(hub: HubProcess, bus: Bus) -> None:
    """Nothing of the text is kept any more: what the page has of it is taken back."""
    async with open_page(hub) as page:
        handle = await page.ask("m1")
        await page.send(t="resume", turn=handle, have=12, crc=1)

        assert await page.receive() == {"t": "reset", "turn": handle}


async def test_same_id_of_another_visitor_is_another_message(hub: HubProcess, bus: Bus) -> None:
    """Ids belong to the visitor who made them up."""
    async with open_page(hub) as one, open_page(hub) as two:
        assert await one.ask("m1", "One") != await two.ask("m1", "Two")

    assert [message.text for message in bus.messages.values()] == ["One", "Two"]


@pytest.mark.parametrize("last", [1_000_000_000, -1, 0, "5", None, True, 1.5])
async def test_history_is_at_most_fifty_turns(hub: HubProcess, bus: Bus, last: object) -> None:
    """Whatever number comes."""
    async with open_page(hub) as page:
        await page.ask("m1")
        turn = await bus.next_turn()
        for _ in range(60):
            bus.reply(turn, "Again")
        await page.send(t="history", last=last)

        assert len((await page.receive())["history"]) == 50


@pytest.mark.parametrize("have", [-1, 10**9, "12", None, 1.5, True])
async def test_resume_from_nowhere_starts_again(hub: HubProcess, bus: Bus, have: object) -> None:
    """A position that cannot be gets the whole text after a reset."""
    async with open_page(hub) as page:
        handle = await page.ask("m1")
        bus.live.texts[await bus.next_turn()] = "So far"
        await page.send(t="resume", turn=handle, have=have)

        assert await page.receive() == {"t": "reset", "turn": handle}
        assert await page.receive() == {"t": "delta", "turn": handle, "offset": 0, "text": "So far"}


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("a\x00\x1b[31mb", "a[31mb"),
        ("a\u202egnp\u202c.exe", "agnp.exe"),
        ("line\r\nline", "line\nline"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
async def test_text_is_normalised(hub: HubProcess, bus: Bus, text: str, stored: str) -> None:
    """What nobody can see is gone; markup stays text."""
    async with open_page(hub) as page:
        await page.ask("m1", text)

        assert bus.messages[await bus.next_turn()].text == stored


async def test_third_frame_that_is_not_json_closes(hub: HubProcess) -> None:
    """A client that does not speak the protocol is not listened to for ever."""
    async with open_page(hub) as page:
        for _ in range(3):
            await page.socket.send_str("{")

        assert await page.closed() == 1007


async def test_same_id_with_another_text_is_a_conflict(hub: HubProcess, bus: Bus) -> None:
    """The first text counts; the client learns that its second one was not taken."""
    async with open_page(hub) as page:
        first = await page.ask("m1", "One")
        again = await page.ask("m1", "Two")

        assert again == first
        assert await page.receive() == {"t": "err", "code": "conflict", "id": "m1"}
    assert [message.text for message in bus.messages.values()] == ["One"]


async def test_second_sign_in_as_somebody_else_closes(hub: HubProcess) -> None:
    """A socket belongs to one visitor; the same one again does no harm."""
    async with open_page(hub) as other, open_page(hub) as page:
        await page.send(t="auth", token=page.token)
        await page.send(t="ping")
        assert (await page.receive())["t"] == "pong"
        await page.send(t="auth", token=other.token)

        assert await page.closed() == 4403


async def test_too_many_messages_are_told_to_slow_down_and_then_closed(bus: Bus) -> None:
    """The hub says how long to wait; a client that goes on and on is closed."""
    hub = HubProcess(bus, WebSettings(messages_per_10s=20))
    await hub.start()
    async with open_page(hub) as page:
        for number in range(25):
            await page.send(t="message", id=f"m{number}", text="Hi")
        frames = [await page.receive() for _ in range(25)]
        refused = [frame for frame in frames if frame["t"] == "err"]
        assert [frame["t"] for frame in frames[:20]] == ["accepted"] * 20
        assert [frame["code"] for frame in refused] == ["slow_down"] * 5
        assert all(0 < frame["retry_ms"] <= 500 for frame in refused)

        for number in range(10):
            await page.send(t="message", id=f"n{number}", text="Hi")
        assert await page.closed() == 1008
    await hub.stop()


async def test_limit_holds_over_sockets_of_one_visitor(bus: Bus) -> None:
    """Opening more sockets does not buy more messages."""
    hub = HubProcess(bus, WebSettings(messages_per_10s=2))
    await hub.start()
    async with open_page(hub) as one, open_page(hub, one.token) as two:
        await one.ask("m1")
        await one.ask("m2")
        await two.send(t="message", id="m3", text="Hi")

        assert (await two.receive())["code"] == "slow_down"
    await hub.stop()


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (BusFull(2.5), {"code": "busy", "id": "m1", "retry_ms": 2500}),
        (BusError("Redis is away"), {"code": "unavailable", "id": "m1", "retry_ms": 2000}),
    ],
)
async def test_bus_that_refuses_is_told_and_the_message_can_come_again(
    hub: HubProcess, bus: Bus, failure: Exception, error: dict[str, Any]
) -> None:
    """Nothing is accepted that was not stored."""

    async def fail(_: object) -> None:
        bus.before_publish = None
        raise failure

    bus.before_publish = fail
    async with open_page(hub) as page:
        await page.send(t="message", id="m1", text="Hi")

        assert await page.receive() == {"t": "err"} | error
        await page.ask("m1", "Hi")
    assert len(bus.messages) == 1


async def test_full_lane_is_busy(hub: HubProcess, bus: Bus) -> None:
    """A conversation with too many waiting messages takes no more for the moment."""

    async def refuse(_: object) -> Accepted:
        return Accepted("", lane_full=True)

    bus.before_publish = refuse
    async with open_page(hub) as page:
        await page.send(t="message", id="m1", text="Hi")

        assert await page.receive() == {"t": "err", "code": "busy", "id": "m1", "retry_ms": 5000}


async def test_binary_frame_closes(hub: HubProcess) -> None:
    """The protocol is text."""
    async with open_page(hub) as page:
        await page.socket.send_bytes(b"\x00")

        assert await page.closed() == 1003


@pytest.mark.parametrize(("size", "code"), [(16 * 1024, None), (16 * 1024 + 1, 1009)])
async def test_frame_of_more_than_16_kib_closes(hub: HubProcess, size: int, code: int | None) -> None:
    """The limit is a frame of exactly 16 KiB."""
    async with open_page(hub) as page:
        await page.socket.send_str(" " * size)
        if code is None:
            assert (await page.receive())["code"] == "bad_json"
        else:
            assert await page.closed() == code


@pytest.mark.parametrize("opcode", [0x9, 0xA])
async def test_flood_of_pings_or_pongs_closes(hub: HubProcess, opcode: int) -> None:
    """Control frames count like any other."""
    async with open_page(hub) as page:
        for _ in range(150):
            await page.socket.send_frame(b"", WSMsgType(opcode))

        assert await page.closed() == 1008


def _frame(
    opcode: int,
    payload: bytes,
    *,
    fin: bool = True,
    rsv: int = 0,
    length: int | None = None,
    is_masked: bool = True,
) -> bytes:
    size = len(payload) if length is None else length
    head = bytes([(fin << 7) | (rsv << 4) | opcode])
    if size < 126:
        head += bytes([(is_masked << 7) | size])
    else:
        head += bytes([(is_masked << 7) | 127]) + struct.pack(">Q", size)
    return head + (b"\0\0\0\0" if is_masked else b"") + payload


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (_frame(0x1, b"\xff\xfe"), 1007),
        (_frame(0x3, b""), 1002),
        (_frame(0x1, b"{}", rsv=4), 1002),
        (_frame(0x0, b"x"), 1002),
        (_frame(0x1, b"{", fin=False) + _frame(0x1, b"}"), 1002),
        (_frame(0x9, b"x" * 126), 1002),
        (_frame(0x9, b"", fin=False), 1002),
        (_frame(0x1, b"", length=2**63 - 1), 1009),
        (_frame(0x1, b"{" * 9000, fin=False) + _frame(0x0, b"{" * 9000), 1009),
        (_frame(0x1, b'{"t":"ping"}', is_masked=False), 1002),
        (_frame(0x9, b"", is_masked=False), 1002),
        (_frame(0x1, b"{", fin=False) + _frame(0x0, b"{", fin=False) * 10_000, 1008),
        (_frame(0x8, struct.pack(">H", 999)), 1002),
        (_frame(0x8, struct.pack(">H", 1005)), 1002),
        (_frame(0x8, struct.pack(">H", 1006)), 1002),
        (_frame(0x8, b"\x03"), 1002),
    ],
    ids=[
        "invalid UTF-8",
        "reserved opcode",
        "reserved bit",
        "continuation of nothing",
        "interleaved",
        "long ping",
        "fragmented ping",
        "length 2^63",
        "large in fragments",
        "without a mask",
        "ping without a mask",
        "10,000 fragments",
        "close code 999",
        "close code 1005",
        "close code 1006",
        "close of one byte",
    ],
)
async def test_broken_frames_close_with_their_code(hub: HubProcess, data: bytes, code: int) -> None:
    """What breaks the rules of WebSocket itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    lines = [f"GET /ws/chat HTTP/1.1\r\nHost: 127.0.0.1:{hub.port}\r\nOrigin: {hub.url}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in UPGRADE.items()]
    writer.write("".join(lines).encode() + b"\r\n")
    async with asyncio.timeout(30):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_frame(0x1, b'{"t":"auth","token":""}'))
        assert (await _read_frame(reader))[0] == 0x81
        writer.write(data)
        opcode, payload = await _read_frame(reader)

    assert opcode == 0x88
    assert struct.unpack(">H", payload[:2]) == (code,)
    writer.close()


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    opcode, size = await reader.readexactly(2)
    if size == 126:
        (size,) = struct.unpack(">H", await reader.readexactly(2))
    return opcode, await reader.readexactly(size)
