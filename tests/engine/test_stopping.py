"""Turns that are cancelled: what ends, what is taken back, and what goes on, with real consumers on a real Redis."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from engine.answers import Answer, Recollection, TextSink, TurnStats
from engine.memory.conversation import ConversationMemory
from engine.turn import Assistant
from engine.worker import Worker
from hub.bus.bus import Bus
from hub.bus.connection import connect_reader
from hub.bus.consumer import ConsumerOptions
from hub.bus.control import Control
from hub.bus.keys import Keys
from hub.events import TurnEvent, parse_event
from hub.live import Live
from hub.messages import Address, InboundMessage, OutboundMessage
from hub.people import People
from hub.settings import BusSettings
from tests.servers.redis import RedisServer

ADDRESS = Address(connector="test", account="a", chat="c", person="p")
PATIENCE_S = 60


class Holding:
    """Answers "hold ..." when it is allowed to, everything else at once."""

    def __init__(self) -> None:
        self.began: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.ended: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.may_answer = asyncio.Event()
        self.stopped = 0

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message."""
        self.began[message.text].set()
        self.stopped = recollection.stopped
        try:
            if message.text.startswith("hold"):
                await text.add("half")
                await self.may_answer.wait()
        finally:
            self.ended[message.text].set()
        return Answer(
            kind="answer", text=message.text, facts={"name": "My name is Maria."}, stats=TurnStats()
        )


class Bench:
    """A bus, an assistant, and an engine that runs when it is told to."""

    def __init__(self, bus: Bus, live: Live) -> None:
        self.bus = bus
        self.live = live
        self.assistant = Holding()
        self.stop = asyncio.Event()
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the engine."""
        worker = Worker(
            self.bus,
            self.live,
            self.assistant,
            memory=ConversationMemory(self.bus, People(self.bus.redis), history_turns=9, recalled_turns=6),
            turn_timeout_s=60,
        )
        control = Control(self.bus.redis, connect_reader(self.bus.url))
        control.listen(worker.obey)
        options = ConsumerOptions(stale_every_s=0.3)
        consumers = self.bus.consumers("inbound", handle=worker.handle, bury=worker.bury, options=options)
        for run in (control.run, *(consumer.run for consumer in consumers)):
            self._running.append(asyncio.create_task(run(self.stop)))
        await control.ready.wait()

    async def end(self) -> None:
        """Stop the engine."""
        self.stop.set()
        await asyncio.gather(*self._running)

    async def publish(self, text: str, *, stream: bool = False) -> str:
        """Publish a message; returns its turn."""
        message = InboundMessage(
            external_key=text, conversation="c", address=ADDRESS, text=text, stream=stream
        )
        return (await self.bus.publish(message)).entry

    async def replies(self, count: int) -> list[tuple[str, str, str]]:
        """Wait for so many replies; gives turn, kind and text of each, in the order of their commits."""
        client: Any = self.bus.redis
        async with asyncio.timeout(PATIENCE_S):
            while len(rows := await client.xrange(Keys().stream("outbound:test"))) < count:
                await asyncio.sleep(0.01)
        found = [OutboundMessage.model_validate_json(fields[b"body"]) for _, fields in rows]
        return [(reply.turn, reply.kind, reply.text) for reply in found]


@pytest.fixture
async def bench(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Bench]:
    """An empty bus with live text."""
    bus = Bus(redis_server.url, BusSettings())
    live = Live(bus.redis, connect_reader(redis_server.url))
    bench = Bench(bus, live)
    listening = asyncio.create_task(live.run(bench.stop))
    await live.ready.wait()
    yield bench
    await bench.end()
    await listening
    await bus.close()


async def test_a_running_turn_is_stopped_and_leaves_nothing(bench: Bench) -> None:
    """No history, no facts, no live text; an event, and a word to the channel that it was cancelled."""
    await bench.start()
    async with bench.live.listen("c") as events, asyncio.timeout(PATIENCE_S):
        turn = await bench.publish("hold on", stream=True)
        while (await anext(events)).kind != "delta":
            pass
        assert await bench.bus.cancel("c", turn) == [turn]
        await bench.assistant.ended["hold on"].wait()
        assert (await anext(events)).kind == "reset"

    assert await bench.replies(1) == [(turn, "cancelled", "")]
    assert await bench.bus.history.turns("c") == []
    assert await bench.bus.history.facts("c") == {}
    assert await bench.live.partial(turn) == ""
    assert await bench.bus.was_cancelled("c", turn)
    client: Any = bench.bus.redis
    [(_, fields)] = await client.xrange(Keys().events)
    event = parse_event(fields)
    assert isinstance(event, TurnEvent)
    assert (event.route, event.kind_of_answer) == ("cancelled", "cancelled")


async def test_the_next_message_goes_on_where_one_was_stopped(bench: Bench) -> None:
    """In order, and only the turn that was meant is stopped."""
    await bench.start()
    held, following = await bench.publish("hold"), await bench.publish("next")
    await bench.assistant.began["hold"].wait()

    await bench.bus.cancel("c", held)

    assert await bench.replies(2) == [(held, "cancelled", ""), (following, "answer", "next")]
    assert [turn.question for turn in await bench.bus.history.turns("c")] == ["next"]


async def test_a_turn_that_waits_is_cancelled_without_being_begun(bench: Bench) -> None:
    """The one before it is answered as if nothing had been."""
    await bench.start()
    held, waiting = await bench.publish("hold"), await bench.publish("next")
    await bench.assistant.began["hold"].wait()

    await bench.bus.cancel("c", waiting)
    bench.assistant.may_answer.set()

    assert await bench.replies(2) == [(held, "answer", "hold"), (waiting, "cancelled", "")]
    assert "next" not in bench.assistant.began


async def test_an_order_holds_that_was_given_while_no_engine_ran(bench: Bench) -> None:
    """Whoever takes the turn up finds it."""
    turn = await bench.publish("hello")
    await bench.bus.cancel("c")

    await bench.start()

    assert await bench.replies(1) == [(turn, "cancelled", "")]
    assert bench.assistant.began == {}


async def test_a_typed_stop_does_not_wait_behind_what_it_stops(bench: Bench) -> None:
    """It ends all that came before it, and is answered itself."""
    await bench.start()
    held, waiting = await bench.publish("hold"), await bench.publish("next")
    await bench.assistant.began["hold"].wait()

    stop = await bench.publish("/stop")

    assert await bench.replies(3) == [
        (held, "cancelled", ""),
        (waiting, "cancelled", ""),
        (stop, "answer", "/stop"),
    ]
    assert bench.assistant.stopped == 2


async def test_an_order_that_nobody_heard_holds_at_the_commit(bench: Bench) -> None:
    """The stream of orders is a courtesy: the mark alone decides."""
    await bench.start()
    turn = await bench.publish("hold")
    await bench.assistant.began["hold"].wait()

    await bench.bus.queue("inbound", 0).cancel("c", turn)
    bench.assistant.may_answer.set()

    assert await bench.replies(1) == [(turn, "cancelled", "")]
    assert await bench.bus.history.turns("c") == []


async def test_an_order_for_another_conversation_stops_nothing(bench: Bench) -> None:
    """Nor does one for a turn that is none."""
    await bench.start()
    turn = await bench.publish("hold")
    await bench.assistant.began["hold"].wait()

    assert await bench.bus.cancel("d", turn) == []
    assert await bench.bus.cancel("c", "1-0") == []
    bench.assistant.may_answer.set()

    assert await bench.replies(1) == [(turn, "answer", "hold")]


@pytest.mark.parametrize(("stopped", "text"), [(2, "Stopped."), (0, "There was nothing to stop.")])
async def test_the_assistant_says_what_became_of_a_stop(
    assistant: Assistant, stopped: int, text: str
) -> None:
    """As a notice, on every channel alike."""
    message = InboundMessage(external_key="k", conversation="c", address=ADDRESS, text="/stop@my_bot")

    answer = await assistant.answer(message, Recollection(stopped=stopped), _Unseen())

    assert (answer.kind, answer.text) == ("notice", text)


class _Unseen:
    async def waiting(self, wait_s: float) -> None:
        pass

    async def add(self, text: str) -> None:
        pass

    async def reset(self) -> None:
        pass
