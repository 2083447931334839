"""The clients of Redis: nothing waits for ever, and what is cancelled ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.exceptions
from redis.asyncio import Redis

from hub.bus.calls import Caller
from hub.bus.connection import connect, connect_reader
from hub.live import Live
from hub.metrics import EventMetrics, Metrics
from tests.servers.proxy import LossyProxy
from tests.servers.redis import RedisServer

STEPS = 30
"""Steps of the event loop in which a command is written and begins to wait for its answer."""

Loop = Callable[[asyncio.Event], Awaitable[None]]
MakeLoop = Callable[[Redis, Redis], Loop]

LOOPS: dict[str, MakeLoop] = {
    "live text": lambda redis, reader: Live(redis, reader).run,
    "answers": lambda redis, reader: Caller(redis, reader).run,
    "events": lambda redis, reader: EventMetrics(redis, reader, Metrics()).run,
}


@pytest.mark.parametrize("steps", range(STEPS))
async def test_a_command_that_is_cancelled_ends_at_whatever_step(
    redis_server: RedisServer, steps: int
) -> None:
    """A cancellation is never swallowed, and the connection is not used with a stale answer on it."""
    client: Any = connect_reader(redis_server.url)
    await client.ping()

    async def read_for_ever() -> None:
        while True:
            await client.xread({"nothing": "0-0"}, block=60_000)

    reading = asyncio.create_task(read_for_ever())
    for _ in range(steps):
        await asyncio.sleep(0)
    reading.cancel()
    done, _ = await asyncio.wait({reading}, timeout=1)

    assert reading in done
    assert await client.echo("mine") == b"mine"
    await client.aclose()


@pytest.mark.parametrize("make", LOOPS.values(), ids=LOOPS)
async def test_a_loop_over_redis_ends_when_it_is_cancelled(redis_server: RedisServer, make: MakeLoop) -> None:
    """Whenever a process that fails cancels its loops, they end and close what they read from."""
    client = connect(redis_server.url)
    for steps in range(STEPS):
        reader = connect_reader(redis_server.url)
        running = asyncio.ensure_future(make(client, reader)(asyncio.Event()))
        for _ in range(steps):
            await asyncio.sleep(0)
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=1)

        assert running in done
        assert not any(one.is_connected for one in reader.connection_pool._available_connections)
    await client.aclose()


async def test_a_cut_costs_one_wait_and_not_one_for_each_connection(redis_server: RedisServer) -> None:
    """The idle connections of a pool are dead together: after the first that times out, the next command has a new one."""
    async with LossyProxy(redis_server.port).running() as proxy:
        client: Any = connect(proxy.url)
        client.connection_pool.connection_kwargs["socket_timeout"] = 0.5
        await asyncio.gather(*(client.ping() for _ in range(8)))
        assert len(client.connection_pool._available_connections) == 8

        async with proxy.silent():
            with pytest.raises(redis.exceptions.TimeoutError):
                await client.ping()
        # As many at once as there are connections, so that every one of them is used.
        assert await asyncio.gather(*(client.ping() for _ in range(8))) == [True] * 8
        await client.aclose()
