"""Messages that break whoever works on them; nobody else may notice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from redis.asyncio import Redis

from engine.worker import GIVEN_UP
from hub.bus.bus import Bus
from hub.bus.keys import Keys
from tests.faults.engine import publish, running_engine
from tests.faults.fleet import NOTHING, Fleet, opened_bus, replies, unfinished, until_committed
from tests.faults.processes import Plan, answer_to, run_worker
from tests.servers.redis import RedisServer

OUTBOUND = Keys().stream("outbound:test")


async def check(redis: Redis, bus: Bus, poison: str) -> None:
    """The person was told, the operator has the message, and everybody else was answered."""
    [letter] = await bus.dead_letters.list()
    assert letter.lane == "poisoned"
    assert poison.encode() in letter.body
    sent = await replies(redis)
    assert [reply.text for reply in sent["poisoned"]] == [GIVEN_UP, answer_to("after")]
    assert [reply.text for reply in sent["other"]] == [answer_to(str(number)) for number in range(5)]
    assert await unfinished(redis) == {**NOTHING, "dead": 1}


async def test_a_message_that_always_fails_leaves_after_five_attempts(
    redis_server: RedisServer, redis: Redis
) -> None:
    """Its conversation goes on with the next message."""
    async with running_engine(Plan(url=redis_server.url, backoff_s=0.01)) as bus:
        await publish(bus, "poisoned", "fail", "after")
        await publish(bus, "other", *range(5))
        await until_committed(redis, OUTBOUND, 7)

        await check(redis, bus, "fail")
        [letter] = await bus.dead_letters.list()
        assert (letter.attempts, letter.reason) == (6, "5 attempts failed")


async def test_a_model_that_hangs_meets_its_deadline(redis_server: RedisServer, redis: Redis) -> None:
    """A hanging turn holds one slot for its time; conversations with a slot of their own do not wait."""
    plan = Plan(url=redis_server.url, turn_timeout_s=0.3, backoff_s=0.01, concurrency=2)
    async with running_engine(plan) as bus:
        await publish(bus, "poisoned", "hang", "after")
        await publish(bus, "other", *range(5))
        await until_committed(redis, OUTBOUND, 5)
        assert [reply.text for reply in (await replies(redis))["other"]] == [
            answer_to(str(n)) for n in range(5)
        ]
        await until_committed(redis, OUTBOUND, 7)

        await check(redis, bus, "hang")


async def test_a_message_that_ends_every_process_leaves_too(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    """The process dies at once, so that only the count in its lease tells of the attempt."""
    plan = Plan(url=redis_server.url, lease_s=0.4)
    async with opened_bus(plan) as bus:
        with Fleet(run_worker, plan, tmp_path, size=2) as workers:
            async with supervised(workers):
                await publish(bus, "poisoned", "abort", "after")
                await publish(bus, "other", *range(5))
                await until_committed(redis, OUTBOUND, 7)

                await check(redis, bus, "abort")


@contextlib.asynccontextmanager
async def supervised(fleet: Fleet) -> AsyncIterator[None]:
    """Start processes again that end by themselves."""

    async def watch() -> None:
        while True:
            for index, process in enumerate(fleet.processes):
                if process.exitcode is not None:
                    fleet.kill(index)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
