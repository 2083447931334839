"""The archive while its writers are killed: at the end it holds what was said and not forgotten, each turn once."""

import asyncio
import random
from pathlib import Path

from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.answers import Answer, Recollection, TextSink
from engine.memory.conversation import ConversationMemory
from engine.worker import Worker
from hub.archive.projector import Projector
from hub.archive.tables import ArchivedFactRow, ArchivedTurnRow
from hub.bus.bus import Bus
from hub.bus.connection import connect_reader
from hub.bus.queue import Lease
from hub.database import async_engine, upgrade
from hub.live import Live
from hub.messages import Address, FactChange, InboundMessage
from hub.people import People
from tests.engine.bench import said
from tests.faults.archive_process import database_of, run_projector
from tests.faults.fleet import Fleet, opened_bus, seeded
from tests.faults.processes import Plan
from tests.servers.redis import RedisServer

CONVERSATIONS = 6
TURNS = 240


class _Assistant:
    """Learns the number of every message, and forgets when it is told to."""

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message."""
        if message.text == "/new":
            return said("forgotten", forget="conversation")
        fact = f"The user's number is {message.text}."
        proof = FactChange(key="number", text=fact, quote=message.text)
        return said(f"answer to {message.text}", facts={"number": fact}, proofs={"number": proof})


class _Talk:
    """Says things one after the other, and knows what the archive has to hold in the end."""

    def __init__(self, bus: Bus, dice: random.Random) -> None:
        self._bus = bus
        self._dice = dice
        memory = ConversationMemory(bus, People(bus.redis), history_turns=TURNS, recalled_turns=3)
        self._worker = Worker(bus, Live(bus.redis, bus.redis), _Assistant(), memory=memory, turn_timeout_s=20)
        self._origins: dict[tuple[str, str], str] = {}
        self.expected: dict[str, list[str]] = {f"c{n}": [] for n in range(CONVERSATIONS)}
        self.facts: dict[str, list[str]] = {f"c{n}": [] for n in range(CONVERSATIONS)}

    async def go_on(self, number: int) -> None:
        """Say, edit or forget something in one of the conversations."""
        conversation = self._dice.choice(sorted(self.expected))
        said_there = self.expected[conversation]
        act = self._dice.choices(("say", "edit", "forget"), weights=(16, 2, 1))[0]
        text = "/new" if act == "forget" else str(number)
        replaces = said_there[-1] if act == "edit" and said_there else ""
        await self._say(conversation, text, number, replaces)
        if act == "forget":
            said_there.clear()
            self.facts[conversation].clear()
            return
        if replaces:
            said_there.pop()
            self.facts[conversation].pop()
        said_there.append(text)
        self.facts[conversation].append(text)

    async def _say(self, conversation: str, text: str, number: int, replaces: str) -> None:
        address = Address(connector="test", account="a", chat=conversation, person=conversation)
        published = await self._bus.publish(
            InboundMessage(
                external_key=f"k{number}",
                # What edits a message names its origin again, so that an edit can be edited.
                origin="" if replaces else text,
                replaces=self._origins.get((conversation, replaces), replaces) if replaces else "",
                conversation=conversation,
                address=address,
                text=text,
            )
        )
        if replaces:
            self._origins[conversation, text] = self._origins.get((conversation, replaces), replaces)
        queue = self._bus.queue("inbound", 0)
        lease = await queue.enter(published.entry, conversation, "me")
        assert isinstance(lease, Lease)
        assert await queue.commit(lease, "me", await self._worker.handle(lease)) is None


async def test_killed_projectors_lose_and_double_nothing(
    redis_server: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    """Three writers, killed at random while people talk, edit and forget."""
    dice = seeded("archive")
    plan = Plan(url=redis_server.url)
    await asyncio.to_thread(upgrade, database_of(tmp_path))
    async with opened_bus(plan) as bus:
        talk = _Talk(bus, dice)
        with Fleet(run_projector, plan, tmp_path, size=3) as projectors:
            for number in range(TURNS):
                await talk.go_on(number)
                if dice.random() < 0.12:
                    await asyncio.to_thread(projectors.kill, dice.randrange(3))
        # What the killed ones had not come to.
        engine = async_engine(database_of(tmp_path))
        reader = connect_reader(plan.url)
        await Projector(bus.redis, reader, bus.history, engine).catch_up()
        await reader.aclose()

    async with AsyncSession(engine) as session:
        turns = list(await session.scalars(select(ArchivedTurnRow).order_by(ArchivedTurnRow.place)))
        facts = list(await session.scalars(select(ArchivedFactRow).order_by(ArchivedFactRow.place)))
    await engine.dispose()
    for conversation, expected in talk.expected.items():
        own = [row for row in turns if row.conversation == conversation]
        assert [row.question for row in own] == expected, conversation
        assert [row.answer for row in own] == [f"answer to {text}" for text in expected]
        kept = [row.quote for row in facts if row.conversation == conversation]
        assert kept == talk.facts[conversation], conversation
