"""The http channel: only signed messages get in, and replies reach the program once, or later, or not at all."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from connectors.http import signing
from connectors.http.connector import MAX_BODY_BYTES
from hub.errors import BusError, BusFull, DeliveryRefused, RetryLater, SettingsError
from hub.messages import Address, OutboundMessage, Source
from hubbub.testing import Inbound
from tests.connectors.http.program import SECRET, Program, make_connector, message, post, serving


class _Progress:
    def __init__(self) -> None:
        self.placed_parts: dict[int, str] = {}
        self.replaced_parts: dict[int, str] = {}
        self.unclear_part: int | None = None
        self.begun: list[int] = []

    async def begin(self, part: int) -> None:
        """Note it."""
        self.begun.append(part)

    async def placed(self, part: int, remote_id: str) -> None:
        """Note it."""
        self.placed_parts[part] = remote_id


class _Edge:
    """A connector that runs, and the program at its other end."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.inbound = Inbound()
        self.connector = make_connector(program.callback_url, timeout_s=0.5)
        self.url = ""

    async def send(self, **more: object) -> _Progress:
        """Send a reply."""
        progress = _Progress()
        await self.connector.send(_reply(**more), progress)
        return progress


@pytest.fixture
async def edge() -> AsyncIterator[_Edge]:
    """Serve the connector beside its program."""
    program = Program()
    await program.start()
    edge = _Edge(program)
    running = asyncio.create_task(edge.connector.run(edge.inbound.publish))
    await asyncio.sleep(0)
    async with serving(edge.connector) as edge.url:
        yield edge
    running.cancel()
    await asyncio.wait({running})
    await program.stop()


def _reply(**more: object) -> OutboundMessage:
    values = {
        "reply_id": "1-0:0",
        "turn": "1-0",
        "conversation": "http-c1",
        "address": Address(connector="http", account="http", chat="c1", person="p1"),
        "text": "It opens at nine. [1]",
        "reply": {"id": "m1"},
        "sources": (Source(number=1, title="Hours", location="hours.md", quote="Nine.", score=0.9),),
    }
    return OutboundMessage.model_validate({**values, **more})


async def test_a_signed_message_is_taken(edge: _Edge) -> None:
    """With the turn it became; the same id again is the same message."""
    status, said, _ = await post(edge.url, message(language="de", quoted="earlier"))
    again, repeated, _ = await post(edge.url, message())

    assert (status, said["duplicate"]) == (202, False)
    assert (again, repeated["duplicate"]) == (202, True)
    [taken] = edge.inbound.accepted.values()
    assert taken.conversation == "http-c1"
    assert (taken.address.chat, taken.address.person, taken.address.is_verified) == ("c1", "p1", True)


async def test_an_edit_names_what_it_replaces(edge: _Edge) -> None:
    """By the program's own id."""
    await post(edge.url, message())
    await post(edge.url, message(id="m2", replaces="m1", text="Hello again"))

    taken = edge.inbound.accepted["http:m2"]
    assert (taken.origin, taken.replaces) == ("m1", "m1")


async def test_what_is_not_signed_is_refused(edge: _Edge) -> None:
    """No signature, a wrong one, another body's, and one that is too old or of another time."""
    now, secret, right = int(time.time()), SECRET.encode(), signing.sign(SECRET.encode(), message())
    wrong: list[dict[str, str]] = [
        {},
        {signing.SIGNATURE_HEADER: "v1=00"},
        signing.sign(b"another secret of others", message()),
        signing.sign(secret, message(text="other")),
        signing.sign(secret, message(), now - signing.TOLERANCE_S - 5),
        signing.sign(secret, message(), now + signing.TOLERANCE_S + 60),
        {**right, signing.TIMESTAMP_HEADER: str(now + 1_000)},
        {**right, signing.TIMESTAMP_HEADER: "\u0661"},
        {**right, signing.TIMESTAMP_HEADER: "9" * 40},
        {**right, signing.SIGNATURE_HEADER: ""},
    ]
    for headers in wrong:
        status, _, _ = await post(edge.url, message(), headers)
        assert status == 401, headers

    assert edge.inbound.accepted == {}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe{}", 400),
        (b'{"id": 1, "id": 2}', 400),
        (b"[" * 10_000, 400),
        (b'{"id": NaN}', 400),
        (b"[]", 422),
        (message(text=""), 422),
        (message(text="\u200b\u200b"), 422),
        (message(text="x" * 8_001), 422),
        (message(text=5), 422),
        (message(id=""), 422),
        (message(id="x" * 129), 422),
        (message(person=None), 422),
        (message(role="system"), 422),
        (b"x" * (MAX_BODY_BYTES + 1), 413),
    ],
)
async def test_what_is_no_message_is_refused(edge: _Edge, body: bytes, status: int) -> None:
    """Also when it is signed; nothing of it is stored."""
    found, said, _ = await post(edge.url, body)

    assert found == status
    assert said["error"]
    assert edge.inbound.accepted == {}


@pytest.mark.parametrize(
    ("error", "wait"), [(BusFull(7.2), "8"), (BusError("Redis is away"), "5")], ids=["full", "away"]
)
async def test_what_is_not_stored_is_asked_for_again(edge: _Edge, error: BusError, wait: str) -> None:
    """The program keeps it, and knows when to come back."""
    edge.inbound.failure = error

    status, _, headers = await post(edge.url, message())

    assert (status, headers["Retry-After"]) == (503, wait)


async def test_a_reply_reaches_the_program(edge: _Edge) -> None:
    """Signed, with its sources, and with an id that stays the same for every attempt."""
    progress = await edge.send()

    [reply] = edge.program.received
    assert reply == {
        "id": "1-0:0",
        "in_reply_to": "m1",
        "conversation": "c1",
        "person": "p1",
        "kind": "answer",
        "text": "It opens at nine. [1]",
        "sources": [{"number": 1, "title": "Hours", "location": "hours.md", "heading": "", "quote": "Nine."}],
        "replaces": False,
    }
    assert edge.program.headers[0]["Idempotency-Key"] == "1-0:0"
    assert (progress.begun, progress.placed_parts) == ([0], {0: "1-0:0"})


async def test_a_program_that_is_busy_is_called_later(edge: _Edge) -> None:
    """When it says, else soon."""
    edge.program.answers = [web.Response(status=429, headers={"Retry-After": "30"}), web.Response(status=502)]

    with pytest.raises(RetryLater) as asked:
        await edge.send()
    with pytest.raises(RetryLater) as broken:
        await edge.send()

    assert (asked.value.retry_after_s, asked.value.unclear) == (30, False)
    assert (broken.value.retry_after_s, broken.value.unclear) == (5, False)
    assert (await edge.send()).placed_parts


@pytest.mark.parametrize("status", [302, 400, 401, 404, 410])
async def test_a_program_that_refuses_is_not_called_again(edge: _Edge, status: int) -> None:
    """Repeating cannot help; a redirect is not followed, or a reply could be sent anywhere."""
    edge.program.answers = [web.Response(status=status, headers={"Location": "http://127.0.0.1:1/"})]

    with pytest.raises(DeliveryRefused, match=str(status)):
        await edge.send()


async def test_silence_leaves_it_open_whether_the_reply_arrived(edge: _Edge) -> None:
    """It is sent again, with the same id, and counted."""

    async def late(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/replies", late)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    edge.connector = make_connector(f"http://127.0.0.1:{runner.addresses[0][1]}/replies", timeout_s=0.2)

    with pytest.raises(RetryLater) as caught:
        await edge.send()
    await runner.cleanup()

    assert caught.value.unclear


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"secret": "short"}, "secret"),
        ({"callback_url": "ftp://x"}, "callback_url"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timout_s": 5}, "timout_s"),
    ],
)
def test_wrong_settings_are_told_with_their_path(wrong: dict[str, object], where: str) -> None:
    """And without the secret."""
    with pytest.raises(SettingsError, match=rf"\[connectors\.http\] is wrong: {where}") as caught:
        make_connector(**{"callback_url": "http://127.0.0.1/", **wrong})  # type: ignore[arg-type]

    assert SECRET not in str(caught.value)
