"""Questions between processes: answered at once or not at all, and never the end of the one who answers."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.bus.calls import Caller, CallFailed, serve
from hub.bus.connection import connect, connect_reader
from hub.bus.keys import Keys
from hub.errors import BusError, KnowledgeError
from tests.servers.redis import RedisServer


async def double(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """A service that answers."""
    return {"value": request["value"] * 2}


async def refuse(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """A service that says why it cannot."""
    raise KnowledgeError("there is no index")


async def break_down(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """A service with a bug."""
    raise ValueError("secret detail")


SERVICES = {"double": double, "refuse": refuse, "break": break_down}


@pytest.fixture
async def caller(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Caller]:
    """A caller whose services are answered by two processes."""
    caller, stop = Caller(redis, connect_reader(redis_server.url)), asyncio.Event()
    loops = [asyncio.create_task(caller.run(stop))]
    loops += [
        asyncio.create_task(serve(redis, connect_reader(redis_server.url), SERVICES, stop)) for _ in range(2)
    ]
    yield caller
    stop.set()
    await asyncio.gather(*loops)


async def test_many_calls_at_once_get_their_own_answers(caller: Caller) -> None:
    """Answers find the question they belong to, whoever gave them."""
    answers = await asyncio.gather(
        *(caller.call("double", {"value": value}, timeout_s=20) for value in range(50))
    )

    assert [answer["value"] for answer in answers] == [2 * value for value in range(50)]


async def test_an_error_meant_for_people_is_passed_on_and_others_are_not(caller: Caller) -> None:
    """The text of a bug stays in the log of its process."""
    with pytest.raises(CallFailed, match="there is no index"):
        await caller.call("refuse", {}, timeout_s=20)
    with pytest.raises(CallFailed, match="its log says why"):
        await caller.call("break", {}, timeout_s=20)


async def test_a_question_nobody_answers_ends_in_time(caller: Caller) -> None:
    """A service that runs nowhere is an error and no hang."""
    with pytest.raises(CallFailed, match="nobody answered"):
        await caller.call("unknown", {}, timeout_s=0.05)


async def test_junk_and_late_questions_are_dropped(caller: Caller, redis: Redis) -> None:
    """Nothing that lies on the stream ends the one who serves it."""
    client: Any = redis
    stream = Keys().calls("double")
    late = {"id": "x", "caller": "late", "until_ms": int(time.time() * 1000) - 1, "request": b'{"value": 1}'}
    await client.xadd(stream, {b"\xff": b"\xff"})
    await client.xadd(stream, {**late, "until_ms": "soon"})
    await client.xadd(stream, {**late, "request": b"{"})
    await client.xadd(stream, late)

    assert await caller.call("double", {"value": 4}, timeout_s=20) == {"value": 8}
    assert await redis.exists(Keys().answers("late")) == 0
    async with asyncio.timeout(30):
        while await redis.xlen(stream):
            await asyncio.sleep(0.01)


async def test_services_outlive_the_loss_of_their_streams(caller: Caller, redis: Redis) -> None:
    """FLUSHALL: the group is made anew, and questions are answered again."""
    assert await caller.call("double", {"value": 1}, timeout_s=20)

    await redis.flushall()

    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(CallFailed):
                assert await caller.call("double", {"value": 2}, timeout_s=1) == {"value": 4}
                break


async def test_a_call_under_way_is_answered_though_its_process_stops(
    redis_server: RedisServer, redis: Redis
) -> None:
    """Requests of the API end before their process does; whoever asks nothing any more is not waited for."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(request: Mapping[str, Any]) -> Mapping[str, Any]:
        begun.set()
        await may_end.wait()
        return {"asked": request["value"]}

    caller, stop, other = Caller(redis, connect_reader(redis_server.url)), asyncio.Event(), asyncio.Event()
    answering = asyncio.create_task(serve(redis, connect_reader(redis_server.url), {"slow": slow}, other))
    hearing = asyncio.create_task(caller.run(stop))
    async with asyncio.timeout(60):
        asked = asyncio.create_task(caller.call("slow", {"value": 7}, timeout_s=60))
        await begun.wait()
        stop.set()
        for _ in range(3):
            # The loop has seen by then that it is to stop.
            await redis.ping()
        assert not hearing.done()
        may_end.set()
        assert await asked == {"asked": 7}
        await hearing
        other.set()
        await answering


async def test_asking_without_a_server_is_a_bus_error() -> None:
    """The caller meets our error."""
    away = connect("redis://127.0.0.1:1")

    with pytest.raises(BusError):
        await Caller(away, away).call("double", {}, timeout_s=1)
