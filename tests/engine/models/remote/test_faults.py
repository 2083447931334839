"""Remote models: endpoints that are away, slow, broken or hostile."""

import asyncio
import contextlib
import gzip
import socket

import pytest
from structlog.testing import capture_logs

from engine.models.base import GenerateOptions, Text
from engine.models.remote.sse import MAX_EVENT_BYTES
from hub.errors import ModelError, OptionRefused
from tests.emulators.endpoint import (
    Behaviour,
    Connection,
    Endpoint,
    answers,
    event,
    falls_silent,
    falls_silent_after,
    says,
    streams,
)
from tests.engine.models.remote.asking import HELLO, KEY, ask, remote
from tests.servers.redis import free_port


async def _cut(connection: Connection) -> None:
    connection.writer.transport.abort()


async def _half_a_piece(connection: Connection) -> None:
    await connection.begin(Content_Length="1000")
    await connection.write(event("Red")[:9])


async def _not_http(connection: Connection) -> None:
    await connection.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def _endless_head(connection: Connection) -> None:
    await connection.write(b"HTTP/1.1 200 OK\r\nX-Filler: " + b"a" * 100_000 + b"\r\n\r\n")


FAULTS: dict[str, tuple[Behaviour, str]] = {
    "a page instead of a stream": (
        answers("200 OK", b"<h1>Welcome!</h1>", Content_Type="text/html"),
        "text/html; expected is text/event-stream",
    ),
    "an answer in one piece": (
        answers("200 OK", b'{"choices": [{"message": {"content": "Red."}}]}'),
        "application/json; expected is text/event-stream",
    ),
    "an error instead of a stream": (answers("200 OK", b'{"error": "out of memory"}'), "out of memory"),
    "an error in the stream": (
        streams(b'data: {"error": {"message": "CUDA died", "code": 500}}\n\n'),
        "CUDA died",
    ),
    "no JSON": (streams(b"data: Red\n\n"), "not JSON"),
    "JSON of another kind": (streams(b"data: [1, 2]\n\n"), "not a JSON object"),
    "another protocol": (streams(b'data: {"response": "Red"}\n\n'), "without choices"),
    "text that is a number": (streams(b'data: {"choices": [{"delta": {"content": 7}}]}\n\n'), "not a text"),
    "bytes that are no UTF-8": (
        streams(b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n'),
        "not JSON",
    ),
    "half a piece": (_half_a_piece, "closed the connection"),
    "nothing": (streams(b""), "in the middle"),
    "no end": (streams(b": ping\n\ndata: [DONE]\n\n"), "in the middle"),
    "a line without end": (streams(b"data: " + b"a" * (MAX_EVENT_BYTES + 10)), "may hold"),
    "an event without end": (streams(b"data: aaaaaaaaaaaa\n" * (MAX_EVENT_BYTES // 10)), "may hold"),
    "a redirect": (
        answers("307 Temporary Redirect", Location="http://127.0.0.1:9/v1"),
        "redirects elsewhere",
    ),
    "a gzip bomb": (
        answers(
            "200 OK",
            gzip.compress(b"\0" * 10_000_000),
            Content_Encoding="gzip",
            Content_Type="text/event-stream",
        ),
        "compressed",
    ),
    "a long error": (answers("500 Internal Server Error", b"x\x1b[31m" * 1_000_000), r"\(500\): x"),
    "a refused key": (answers("401 Unauthorized", b'{"detail": "no such key"}'), "API key.*no such key"),
    "no such model": (answers("404 Not Found", b'{"error": "model not found"}'), "has no model 'small'"),
    "no HTTP": (_not_http, "not HTTP"),
    "a head without end": (_endless_head, "not HTTP"),
    "a connection that is cut": (_cut, "closed the connection|reset"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_told_with_the_host_and_what_is_wrong(fault: str) -> None:
    """The text is for the operator: which server, what it did; short, and never with the key."""
    behave, text = FAULTS[fault]
    async with Endpoint(behave) as endpoint, remote(endpoint.base_url) as model:
        with pytest.raises(ModelError, match=f"{endpoint.host} .*({text})") as caught:
            await ask(model)

    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "500 Oh"])
async def test_a_key_that_a_server_repeats_is_not_shown(status: str) -> None:
    """Neither in the error nor in the log."""
    body = f'{{"error": {{"message": "Incorrect API key provided: {KEY}."}}}}'.encode()
    with capture_logs() as logs:
        async with Endpoint(answers(status, body)) as endpoint, remote(endpoint.base_url) as model:
            with pytest.raises(ModelError, match=r"provided: \*\*\*\.") as caught:
                await ask(model)

    assert KEY not in str(caught.value)
    assert KEY not in str(logs)


async def test_an_answer_that_breaks_off_is_not_begun_again() -> None:
    """Text that was shown cannot be taken back, so neither the server nor another one is asked again."""
    async with (
        Endpoint(streams(event("Red"))) as first,
        Endpoint(says("Blue")) as second,
        remote(first.base_url, second.base_url, attempts=3) as model,
    ):
        events = model.stream(HELLO, GenerateOptions(max_tokens=20))
        assert await anext(events) == Text(text="Red")
        with pytest.raises(ModelError, match="in the middle"):
            await anext(events)

    assert (len(first.requests), len(second.requests)) == (1, 0)


@pytest.mark.parametrize("end", [b"", b"data: [DO", b"nonsense\n\ndata: {\n\n"])
async def test_an_answer_is_whole_once_its_reason_came(end: bytes) -> None:
    """`[DONE]` is a courtesy; what comes instead of it harms nothing."""
    async with Endpoint(says("Red.", end=end)) as endpoint, remote(endpoint.base_url) as model:
        assert (await ask(model))[0] == "Red."


async def test_an_answer_is_whole_although_its_connection_stays_open() -> None:
    """Nobody waits for ever for what it cost."""
    behave = falls_silent_after(event("Red.") + event(finish="stop"))
    async with Endpoint(behave) as endpoint, remote(endpoint.base_url, stall_timeout_s=0.05) as model:
        assert (await ask(model))[0] == "Red."


async def test_a_server_without_a_first_word_is_given_up() -> None:
    """Also where it shows with comments that it lives."""

    async def only_pings(connection: Connection) -> None:
        await connection.begin()
        while not connection.hung_up.is_set():
            await connection.write(b": ping\n\n")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.hung_up.wait(), 0.02)

    for behave in (falls_silent, only_pings):
        async with (
            Endpoint(behave) as endpoint,
            remote(endpoint.base_url, first_token_timeout_s=0.2) as model,
        ):
            with pytest.raises(ModelError, match=r"no first word within 0\.2 s"):
                await ask(model)
            async with asyncio.timeout(20):
                await endpoint.hung_up.wait()


async def test_a_server_that_falls_silent_is_given_up() -> None:
    """The time between two pieces has a limit of its own."""
    behave = falls_silent_after(event("Red"))
    async with Endpoint(behave) as endpoint, remote(endpoint.base_url, stall_timeout_s=0.2) as model:
        with pytest.raises(ModelError, match=r"silent for 0\.2 s in the middle"):
            await ask(model)


async def test_a_server_that_takes_no_connection_is_given_up() -> None:
    """A full queue of connections looks like a machine that is off."""
    with socket.socket() as deaf, socket.socket() as queued, socket.socket() as also_queued:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for client in (queued, also_queued):
            client.setblocking(False)
            client.connect_ex(deaf.getsockname())
        async with remote(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1", connect_timeout_s=0.2) as model:
            with pytest.raises(ModelError, match=r"no connection within 0\.2 s"):
                await ask(model)


# -- again, and elsewhere ----------------------------------------------------------------------------------


async def test_a_passing_fault_is_met_with_another_attempt() -> None:
    """The second attempt finds the server in order."""
    async with (
        Endpoint(answers("503 Service Unavailable"), _cut, says("Red")) as endpoint,
        remote(endpoint.base_url, attempts=3) as model,
    ):
        assert (await ask(model))[0] == "Red"

    assert len(endpoint.requests) == 3


async def test_attempts_have_an_end() -> None:
    """So many as are set, and no more."""
    async with Endpoint(answers("500 Oh")) as endpoint, remote(endpoint.base_url, attempts=2) as model:
        with pytest.raises(ModelError):
            await ask(model)

    assert len(endpoint.requests) == 2


async def test_a_server_is_not_asked_before_the_time_it_named() -> None:
    """Where that lies behind the deadline it is left at once to the next endpoint."""
    busy = answers("429 Too Many Requests", Retry_After="3600")
    async with (
        Endpoint(busy) as first,
        Endpoint(says("Red")) as second,
        remote(first.base_url, second.base_url, attempts=5) as model,
    ):
        assert (await ask(model))[0] == "Red"
        assert (await ask(model))[0] == "Red"

    assert (len(first.requests), len(second.requests)) == (1, 2)


async def test_a_short_wait_that_a_server_asks_for_is_kept() -> None:
    """Within the deadline the same server is asked again."""
    async with (
        Endpoint(answers("429 Too Many Requests", Retry_After="1"), says("Red")) as endpoint,
        remote(endpoint.base_url, attempts=2) as model,
    ):
        begun = asyncio.get_running_loop().time()
        assert (await ask(model))[0] == "Red"
        waited_s = asyncio.get_running_loop().time() - begun

    assert waited_s >= 1


async def test_a_dead_endpoint_is_left_alone_for_a_while() -> None:
    """Only the first of two requests pays for it, and the log names it."""
    async with (
        Endpoint(_cut) as first,
        Endpoint(says("Red")) as second,
        remote(first.base_url, second.base_url) as model,
    ):
        with capture_logs() as logs:
            assert (await ask(model))[0] == "Red"
            assert (await ask(model))[0] == "Red"

    assert (len(first.requests), len(second.requests)) == (1, 2)
    failed = [entry for entry in logs if entry["event"] == "endpoint_failed"]
    assert [(entry["model"], entry["host"]) for entry in failed] == [("far", first.host)]


async def test_dead_endpoints_fail_at_once_the_second_time() -> None:
    """Whoever has a fallback gets to it without waiting."""
    async with remote(f"http://127.0.0.1:{free_port()}/v1") as model:
        with pytest.raises(ModelError, match="cannot be asked: connection refused"):
            await ask(model)
        with pytest.raises(ModelError, match="left alone"):
            await ask(model)


async def test_a_refused_request_says_nothing_against_the_endpoint() -> None:
    """The next request is asked of it as ever."""
    async with (
        Endpoint(answers("400 Bad Request", b"no"), says("Red")) as endpoint,
        remote(endpoint.base_url) as model,
    ):
        with pytest.raises(OptionRefused):
            await ask(model)
        assert (await ask(model))[0] == "Red"


async def test_a_request_that_is_given_up_says_nothing_against_the_endpoint() -> None:
    """Somebody who hangs up before the first word does not keep others away."""
    async with Endpoint(falls_silent, says("Red")) as endpoint, remote(endpoint.base_url) as model:
        asking = asyncio.create_task(ask(model))
        async with asyncio.timeout(20):
            while not endpoint.requests:
                await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

        assert (await ask(model))[0] == "Red"
