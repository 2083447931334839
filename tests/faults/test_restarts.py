"""Workers that end in good order, sleep past their leases, or face a Redis that stands still."""

import asyncio
import signal
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from hub.bus.connection import connect
from hub.bus.keys import Keys
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
from tests.servers.redis import RedisServer

OUTBOUND = Keys().stream("outbound:test")
LONG_LEASE_S = 300.0
"""Nothing that a test sees has waited for such a lease."""


async def consumers(redis: Redis) -> set[bytes]:
    """Return the names in the engine's group."""
    client: Any = redis
    return {item["name"] for item in await client.xinfo_consumers(Keys().stream("inbound"), "engine")}


async def test_rolling_restarts_under_load_double_nothing_and_leave_no_names(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    """With leases of 30 s, whatever was given back is taken up at once."""
    dice = seeded("restarts")
    plan = Plan(url=redis_server.url, lease_s=LONG_LEASE_S)
    async with opened_bus(plan) as bus:
        with Fleet(run_worker, plan, tmp_path, size=3) as workers:
            # Each restart meets messages of its own: however slow it is, the load does not run out before it.
            for wave, index in enumerate((0, 1, 2, 0, 1, 2)):
                numbers = range(wave * 4, wave * 4 + 4)
                publishing = asyncio.gather(
                    *(
                        publish_all(bus, [message(f"c{name}", n) for n in numbers], dice, 1)
                        for name in range(10)
                    )
                )
                await until_committed(redis, OUTBOUND, await redis.xlen(OUTBOUND) + 5)
                assert await workers.terminate(index) == 0
                await publishing
            await until_committed(redis, OUTBOUND, 240)
            for index in range(3):
                await workers.terminate(index, replace=False)

        for conversation, sent in (await replies(redis)).items():
            assert [reply.text for reply in sent] == [answer_to(str(n)) for n in range(24)], conversation
        assert await unfinished(redis) == NOTHING
        assert await consumers(redis) <= {b"orphans"}


async def test_a_turn_cut_off_by_a_restart_is_finished_by_another_worker(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    """A turn longer than the grace period is given back without blame, also its conversation's next message."""
    plan = Plan(url=redis_server.url, lease_s=LONG_LEASE_S, max_attempts=1, drain_timeout_s=0.2)
    async with opened_bus(plan) as bus:
        with Fleet(run_worker, plan, tmp_path, size=1) as workers:
            await publish(bus, "c", "slow 2", 1)
            await until_leased(redis, "c")

            await workers.terminate(0)
            await until_committed(redis, OUTBOUND, 2)

        assert [reply.text for reply in (await replies(redis))["c"]] == [answer_to("slow 2"), answer_to("1")]


async def test_a_worker_that_slept_past_its_lease_is_refused(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    """Its turn is another's by the time it wakes up, and what it still does leaves no trace."""
    plan = Plan(url=redis_server.url, lease_s=0.6)
    async with opened_bus(plan) as bus:
        with Fleet(run_worker, plan, tmp_path, size=2) as workers:
            await publish(bus, "c", "slow 1.5", 1)
            sleeper = await until_leased(redis, "c")
            index = next(
                i for i, process in enumerate(workers.processes) if f"-{process.pid}-" in sleeper.decode()
            )

            workers.signal(index, signal.SIGSTOP)
            await until_committed(redis, OUTBOUND, 2)
            workers.signal(index, signal.SIGCONT)
            async with asyncio.timeout(90):
                while "lease_lost" not in workers.logs():
                    await asyncio.sleep(0.05)

        assert [reply.text for reply in (await replies(redis))["c"]] == [
            answer_to("slow 1.5"),
            answer_to("1"),
        ]


async def test_a_redis_that_stands_still_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Reads and commands time out and are repeated; late ones are carried out when it wakes up."""
    with RedisServer(tmp_path) as server:
        redis = connect(server.url)
        async with running_engine(Plan(url=server.url, lease_s=1)) as bus:
            await publish(bus, "c", *range(5), "slow 1")
            await until_leased(redis, "c")

            server.pause()
            # Longer than the 10 s that a command waits for its answer and the 7 s that a reader does.
            await asyncio.sleep(11)
            server.resume()
            await publish(bus, "c", *range(5, 10))
            await until_committed(redis, OUTBOUND, 11)

            texts = [reply.text for reply in (await replies(redis))["c"]]
        assert texts == [answer_to(str(word)) for word in (*range(5), "slow 1", *range(5, 10))]
        assert await unfinished(redis) == NOTHING
        await redis.aclose()
