"""Workers that die at awkward moments, all at once, of their memory, under a wrong clock, or under each other's name."""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from engine.worker import GIVEN_UP
from hub.bus.consumer import consumer_name
from hub.bus.keys import Keys
from hub.bus.reader import StreamReader
from hub.events import TurnEvent, parse_event
from tests.faults.engine import publish, running_engine, until_leased
from tests.faults.fleet import (
    NOTHING,
    Fleet,
    message,
    opened_bus,
    publish_all,
    replies,
    seeded,
    unfinished,
    until_committed,
)
from tests.faults.processes import Plan, answer_to, run_worker
from tests.servers.preloaded import compiled
from tests.servers.redis import RedisServer

OUTBOUND = Keys().stream("outbound:test")
DAY_S = 86_400
MEMORY_BYTES = 8 << 30
"""Address space, of which most is never touched."""


async def test_a_worker_killed_before_it_enters_leaves_its_entries_to_others(
    redis_server: RedisServer, redis: Redis
) -> None:
    """It was given them and did nothing: they are pending in its name, no lane has an owner."""
    client: Any = redis
    plan = Plan(url=redis_server.url, lease_s=0.5)
    async with opened_bus(plan) as bus:
        await publish(bus, "c", 1, 2)
        await StreamReader(bus.queue("inbound", 0), redis, "dead").ensure_group()
        await client.xreadgroup("engine", "dead", {Keys().stream("inbound"): ">"}, count=10)

        async with running_engine(plan):
            await publish(bus, "c", 3)
            await until_committed(redis, OUTBOUND, 3)

        assert [reply.text for reply in (await replies(redis))["c"]] == [answer_to(str(n)) for n in (1, 2, 3)]
        assert await unfinished(redis) == NOTHING


async def test_all_workers_may_be_dead_for_a_while(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    """Killed in the middle of their turns, started again after their leases: nothing is lost, doubled or swapped."""
    dice = seeded("all dead")
    plan = Plan(url=redis_server.url, lease_s=0.5)
    async with opened_bus(plan) as bus:
        for numbers in (range(5), range(5, 10)):
            publishing = asyncio.gather(
                *(
                    publish_all(bus, [message(f"c{name}", f"slow 0.1 {n}") for n in numbers], dice, 0.5)
                    for name in range(8)
                )
            )
            with Fleet(run_worker, plan, tmp_path, size=2):
                # Left by killing both: their turns are under way, more is coming in.
                await until_committed(redis, OUTBOUND, await redis.xlen(OUTBOUND) + 6)
            await publishing
        with Fleet(run_worker, plan, tmp_path, size=2):
            await until_committed(redis, OUTBOUND, 80)

        for conversation, sent in (await replies(redis)).items():
            expected = [answer_to(f"slow 0.1 {number}") for number in range(10)]
            assert [reply.text for reply in sent] == expected, conversation
        assert await unfinished(redis) == NOTHING


async def test_a_turn_that_needs_too_much_memory_is_given_up_alone(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    """The limit of the process is an error of that turn; the process and everybody else's turns go on."""
    plan = Plan(url=redis_server.url, memory_bytes=MEMORY_BYTES, backoff_s=0.01)
    async with opened_bus(plan) as bus:
        with Fleet(run_worker, plan, tmp_path, size=1) as workers:
            await publish(bus, "large", "grow", "after")
            await publish(bus, "other", *range(5))
            await until_committed(redis, OUTBOUND, 7)
            assert workers.processes[0].exitcode is None

        sent = await replies(redis)
        assert [reply.text for reply in sent["large"]] == [GIVEN_UP, answer_to("after")]
        assert [reply.text for reply in sent["other"]] == [answer_to(str(number)) for number in range(5)]
        [letter] = await bus.dead_letters.list()
        assert letter.reason == "5 attempts failed"
        assert "MemoryError" in workers.logs()


async def test_a_worker_that_the_system_kills_for_its_memory_costs_one_message(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    """SIGKILL in the middle of the turn, each time it is tried: only that message is given up, others are finished."""
    plan = Plan(url=redis_server.url, lease_s=0.4)
    async with opened_bus(plan) as bus:
        with Fleet(run_worker, plan, tmp_path, size=2) as workers:
            await publish(bus, "large", "slow 30", "after")
            await publish(bus, "other", *range(5))
            while (await bus.queue("inbound", 0).backlog()) and not await bus.dead_letters.count():
                owner = (await until_leased(redis, "large")).decode()
                for process in workers.processes:
                    if f"-{process.pid}-" in owner:
                        workers.kill(workers.processes.index(process))
                await asyncio.sleep(0.05)
            await until_committed(redis, OUTBOUND, 7)

        sent = await replies(redis)
        assert [reply.text for reply in sent["large"]] == [GIVEN_UP, answer_to("after")]
        assert [reply.text for reply in sent["other"]] == [answer_to(str(number)) for number in range(5)]


def test_names_of_consumers_are_never_the_same() -> None:
    """Not in one process, and not in two that the system gives the same number."""
    names = {consumer_name() for _ in range(1000)}
    assert len(names) == 1000
    assert all(f"-{os.getpid()}-" in name for name in names)


async def test_two_workers_with_one_name_double_nothing(redis_server: RedisServer, redis: Redis) -> None:
    """Were there two all the same, each lease has a fence of its own, and only the newest commits."""
    plan = Plan(url=redis_server.url, name="twin", lease_s=0.5, max_attempts=1000)
    async with running_engine(plan) as bus, running_engine(plan):
        for number in range(10):
            for name in range(6):
                await publish(bus, f"c{name}", number)
        await until_committed(redis, OUTBOUND, 60)

        for conversation, sent in (await replies(redis)).items():
            assert [reply.text for reply in sent] == [answer_to(str(n)) for n in range(10)], conversation
        assert await unfinished(redis) == NOTHING


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes a process's clock wrong."""
    return compiled("clock", tmp_path_factory.mktemp("clock"))


async def test_clocks_that_are_wrong_by_days_change_nothing(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, clock: Path
) -> None:
    """One engine lives three days ago, one in three days; leases and order know the clock of Redis alone."""
    async with AsyncExitStack() as running:
        for days in (-3, 3):
            process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-m",
                    "tests.faults.clocked",
                    redis_server.url,
                    str(tmp_path / f"{days}.log"),
                ),
                env={**os.environ, "LD_PRELOAD": str(clock), "CLOCK_SHIFT_S": str(days * DAY_S)},
            )
            running.push_async_callback(_ended, process)
        bus = await running.enter_async_context(opened_bus(Plan(url=redis_server.url)))
        async with asyncio.timeout(60):
            while len(await _readers(redis)) < 2:
                await asyncio.sleep(0.05)
        for number in range(6):
            for name in range(6):
                await publish(bus, f"c{name}", f"slow 0.05 {number}")
        await until_committed(redis, OUTBOUND, 36)

    committed = await replies(redis)
    for conversation, sent in committed.items():
        expected = [answer_to(f"slow 0.05 {number}") for number in range(6)]
        assert [reply.text for reply in sent] == expected, conversation
    # Both have worked: their replies tell of their clocks.
    clocks = {
        round((reply.created_at.timestamp() - _redis_s(reply.turn)) / DAY_S)
        for sent in committed.values()
        for reply in sent
    }
    assert clocks == {-3, 3}
    client: Any = redis
    events = [parse_event(fields) for _, fields in await client.xrange(Keys().events)]
    assert all(event.queue_ms >= 0 for event in events if isinstance(event, TurnEvent))
    assert await unfinished(redis) == NOTHING


async def _readers(redis: Redis) -> list[Any]:
    """Return the clients that wait for entries."""
    client: Any = redis
    return [each for each in await client.client_list() if each["cmd"] == "xreadgroup"]


def _redis_s(entry: str) -> float:
    return int(entry.partition("-")[0]) / 1000


async def _ended(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        assert await process.wait() == 0
