"""Turns are cancelled at random moments while workers are killed: each ends exactly once, one way or the other."""

import asyncio
import random
from collections import defaultdict
from pathlib import Path

from redis.asyncio import Redis

from hub.bus.bus import Bus
from hub.bus.keys import Keys
from tests.faults.fleet import (
    NOTHING,
    Fleet,
    message,
    opened_bus,
    replies,
    seeded,
    unfinished,
    until_committed,
)
from tests.faults.processes import Plan, run_worker
from tests.servers.redis import RedisServer

CONVERSATIONS = 16
MESSAGES = 20
KILLS = 10


class Crowd:
    """People who ask, and change their minds."""

    def __init__(self, bus: Bus, dice: random.Random) -> None:
        self._bus = bus
        self._dice = dice
        self.asked: defaultdict[str, list[str]] = defaultdict(list)
        """Every turn, in the order of intake."""
        self.cancelled: set[str] = set()
        """Turns of which the hub has said that they will end as cancelled."""

    async def talk(self, conversation: str) -> None:
        """Ask, and stop now and then what was asked."""
        for number in range(MESSAGES):
            word = f"slow {self._dice.uniform(0.02, 0.3):.2f}" if self._dice.random() < 0.3 else "word"
            await self._ask(conversation, f"{word} {number}")
            await asyncio.sleep(self._dice.uniform(0, 0.4))
            if self._dice.random() < 0.25:
                await self._stop(conversation, number)

    async def _ask(self, conversation: str, text: str) -> str:
        entry = (await self._bus.publish(message(conversation, text))).entry
        self.asked[conversation].append(entry)
        return entry

    async def _stop(self, conversation: str, number: int) -> None:
        match self._dice.choice((0, 0, 0, 1, 2)):
            case 0:
                turn = self._dice.choice(self.asked[conversation][-4:])
                if await self._bus.cancel(conversation, turn):
                    self.cancelled.add(turn)
            case 1:
                await self._bus.cancel(conversation)
            case 2:
                before = list(self.asked[conversation])
                stop = await self._ask(conversation, f"/stop {number}")
                if count := await self._bus.cancelled_by(conversation, stop):
                    self.cancelled.update(before[-count:])


async def test_each_turn_ends_once_as_answered_or_cancelled(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    """In order, as whoever cancelled was told, and nothing of a cancelled turn is remembered."""
    dice = seeded("cancels")
    plan = Plan(url=redis_server.url, max_attempts=1000)
    async with opened_bus(plan) as bus:
        crowd = Crowd(bus, dice)
        with Fleet(run_worker, plan, tmp_path, size=3) as workers:
            talking = asyncio.gather(*(crowd.talk(f"c{number}") for number in range(CONVERSATIONS)))
            for _ in range(KILLS):
                await asyncio.sleep(dice.uniform(0.1, 0.6))
                workers.kill(dice.randrange(3))
            await talking
            count = sum(map(len, crowd.asked.values()))
            await until_committed(redis, Keys().stream("outbound:test"), count, within_s=180)

        kinds: dict[str, str] = {}
        for conversation, sent in (await replies(redis)).items():
            assert [reply.turn for reply in sent] == crowd.asked[conversation], conversation
            kinds |= {reply.turn: reply.kind for reply in sent}
            remembered = [turn.turn for turn in await bus.history.turns(conversation)]
            assert remembered == [reply.turn for reply in sent if reply.kind == "answer"]
        assert set(kinds.values()) == {"answer", "cancelled"}, "both ends are tried"
        assert {kinds[turn] for turn in crowd.cancelled} == {"cancelled"}
        assert await unfinished(redis) == NOTHING
        assert await redis.keys("*:cancelled:*") == []
