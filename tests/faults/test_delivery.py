"""Nothing is lost, doubled or reordered while workers and Redis are killed and frozen at random."""

import asyncio
import random
from pathlib import Path

from hub.bus.connection import connect
from hub.bus.history import History
from hub.bus.keys import Keys
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

CONVERSATIONS = 50
MESSAGES = 20
KILLS, FREEZES, CRASHES = 12, 6, 2


async def test_every_message_is_answered_once_and_in_order(tmp_path: Path) -> None:
    """I1 to I5 and I13 under kill -9 of workers, pauses longer than their leases, and kill -9 of Redis."""
    dice = seeded("delivery")
    with RedisServer(tmp_path) as server:
        # A worker is killed several times a second of its life here, which is no fault of the message it had:
        # with five attempts an innocent one would now and then be given up.
        plan = Plan(url=server.url, max_attempts=1000)
        async with opened_bus(plan) as bus:
            with Fleet(run_worker, plan, tmp_path, size=4) as workers:
                publishing = [
                    publish_all(
                        bus, [message(f"c{name}", number) for number in range(MESSAGES)], dice, over_s=8
                    )
                    for name in range(CONVERSATIONS)
                ]
                async with asyncio.timeout(150):
                    await asyncio.gather(*publishing, _trouble(dice, workers, server))
                await until_committed(bus.redis, Keys().stream("outbound:test"), CONVERSATIONS * MESSAGES)
                for index in range(4):
                    await workers.terminate(index, replace=False)
            await _check(server)


async def _trouble(dice: random.Random, workers: Fleet, server: RedisServer) -> None:
    faults = ["kill"] * KILLS + ["freeze"] * FREEZES + ["crash"] * CRASHES
    dice.shuffle(faults)
    lease_s = workers.plan.lease_s
    async with asyncio.TaskGroup() as freezes:
        for fault in faults:
            await asyncio.sleep(dice.uniform(0.2, 0.8))
            index = dice.randrange(len(workers.processes))
            match fault:
                case "kill":
                    workers.kill(index)
                case "freeze":
                    freezes.create_task(workers.freeze(index, dice.uniform(1.5, 3) * lease_s))
                case "crash":
                    server.kill()
                    server.start()


async def _check(server: RedisServer) -> None:
    redis = connect(server.url)
    expected = [answer_to(str(number)) for number in range(MESSAGES)]
    committed = await replies(redis)
    assert sorted(committed) == sorted(f"c{name}" for name in range(CONVERSATIONS))
    for conversation, sent in committed.items():
        assert [reply.text for reply in sent] == expected, conversation
        turns = await History(redis).turns(conversation)
        assert [turn.answer for turn in turns] == expected, conversation
    assert await unfinished(redis) == NOTHING
    await redis.aclose()
