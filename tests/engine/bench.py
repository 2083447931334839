"""A worker on a real Redis with a scripted assistant, driven by hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from engine.memory.conversation import ConversationMemory
from engine.turn import Answer, Recollection, TextSink, TurnStats
from engine.worker import Worker
from hub.bus.bus import Bus
from hub.bus.connection import connect_reader
from hub.bus.keys import Keys
from hub.bus.queue import Commit, Lease
from hub.events import TurnEvent, parse_event
from hub.live import Live
from hub.messages import Address, InboundMessage, OutboundMessage
from hub.people import People
from hub.settings import BusSettings

Script = Callable[[InboundMessage, Recollection, TextSink], Awaitable[Answer]]
ADDRESS = Address(connector="test", account="a", chat="c", person="p")


class Scripted:
    """An assistant that does what the test says."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer as the test says."""
        return await self._script(message, recollection, text)


async def echo(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
    """Say what was said."""
    await text.add(message.text)
    return said(message.text)


def said(text: str, **more: Any) -> Answer:
    """Make an answer."""
    return Answer(kind="answer", text=text, stats=TurnStats(), **more)


class Bench:
    """A bus and what one needs to work on a message by hand."""

    def __init__(self, bus: Bus, live: Live) -> None:
        self.bus = bus
        self.live = live
        self.queue = bus.queue("inbound", 0)

    def worker(
        self,
        script: Script = echo,
        *,
        turn_timeout_s: float = 240,
        cleaned: Callable[[InboundMessage], InboundMessage] = lambda message: message,
    ) -> Worker:
        """Make a worker."""
        return Worker(
            self.bus,
            self.live,
            Scripted(script),
            memory=ConversationMemory(self.bus, People(self.bus.redis), history_turns=3, recalled_turns=2),
            turn_timeout_s=turn_timeout_s,
            cleaned=cleaned,
        )

    async def published(self, text: str, **more: Any) -> str:
        """Publish a message and return its entry."""
        fields = {"external_key": text, "conversation": "c", "address": ADDRESS, "text": text, **more}
        return (await self.bus.publish(InboundMessage(**fields))).entry

    async def entered(self, text: str, **more: Any) -> Lease:
        """Publish a message and take its lease."""
        entry = await self.published(text, **more)
        lease = await self.queue.enter(entry, more.get("conversation", "c"), "me")
        assert isinstance(lease, Lease)
        return lease

    async def answered(
        self,
        text: str,
        script: Script = echo,
        *,
        cleaned: Callable[[InboundMessage], InboundMessage] = lambda message: message,
        **more: Any,
    ) -> Commit:
        """Publish, answer and commit a message."""
        lease = await self.entered(text, **more)
        commit = await self.worker(script, cleaned=cleaned).handle(lease)
        assert await self.queue.commit(lease, "me", commit) is None
        return commit

    async def replies(self, connector: str = "test") -> list[OutboundMessage]:
        """Return what lies on the outbound stream of a connector."""
        client: Any = self.bus.redis
        rows = await client.xrange(Keys().stream(f"outbound:{connector}"))
        return [OutboundMessage.model_validate_json(fields[b"body"]) for _, fields in rows]

    async def events(self) -> list[TurnEvent]:
        """Return the turns on the events stream."""
        client: Any = self.bus.redis
        found = [parse_event(fields) for _, fields in await client.xrange(Keys().events)]
        return [event for event in found if isinstance(event, TurnEvent)]


@asynccontextmanager
async def opened_bench(url: str) -> AsyncIterator[Bench]:
    """Open the bus of a Redis, with live text."""
    bus, stop = Bus(url, BusSettings()), asyncio.Event()
    live = Live(bus.redis, connect_reader(url))
    running = asyncio.create_task(live.run(stop))
    await live.ready.wait()
    yield Bench(bus, live)
    stop.set()
    await running
    await bus.close()
