"""Entries nobody thought of, on every stream: each is answered or a dead letter, and what comes behind it is answered."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from connectors.base import Progress, Publish
from connectors.runner import Sender
from engine.answers import Answer, Recollection, TextSink, TurnStats
from engine.memory.conversation import ConversationMemory
from engine.worker import Worker
from hub.archive.projector import Projector
from hub.bus.bus import INBOUND, Bus, outbound, parse_inbound, parse_outbound
from hub.bus.calls import Caller, serve
from hub.bus.connection import connect_reader
from hub.bus.consumer import ConsumerOptions
from hub.bus.control import Control, Order
from hub.bus.history import History
from hub.bus.keys import Keys
from hub.database import async_engine, upgrade
from hub.errors import UnreadableEntry
from hub.events import parse_event
from hub.key_usage import UsageCounter
from hub.live import Live
from hub.messages import Address, InboundMessage, OutboundMessage
from hub.metrics import EventMetrics, Metrics
from hub.people import People
from hub.settings import BusSettings
from tests.fuzzing import tried_on_one
from tests.servers.redis import RedisServer

ADDRESS = Address(connector="test", account="a", chat="c", person="p")
QUEUES = (INBOUND, outbound("test"))
MESSAGE = InboundMessage(external_key="test:1", conversation="c", address=ADDRESS, text="Hello", stream=True)
REPLY = OutboundMessage(reply_id="1-0:0", turn="1-0", conversation="c", address=ADDRESS, text="Hello back")

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ANYTHING: st.SearchStrategy[Any] = st.one_of(
    SCALARS,
    st.sampled_from(["c", "test", "2026-01-01T00:00:00Z", "1-0", "/stop"]),
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.text(max_size=8), SCALARS, max_size=3),
)


def _changed(whole: Mapping[str, Any]) -> st.SearchStrategy[bytes]:
    """Give a message some of whose fields are something else, or missing."""
    fields = st.dictionaries(st.sampled_from(sorted(whole)) | st.text(max_size=8), ANYTHING, max_size=3)
    missing = st.sets(st.sampled_from(sorted(whole)), max_size=1)
    return st.builds(
        lambda other, without: json.dumps(
            {name: value for name, value in {**whole, **other}.items() if name not in without}
        ).encode(),
        fields,
        missing,
    )


BODIES = (
    _changed(MESSAGE.model_dump(mode="json"))
    | _changed(REPLY.model_dump(mode="json"))
    | st.binary(max_size=40)
    | st.sampled_from([b"null", b"[" * 5000, b"9" * 5000, b'{"a":' * 500, b"\xff\xfe{}"])
)
LANES = st.sampled_from([b"c", b"good", b"", b"a:b", b"{*}"]) | st.binary(max_size=6)


@dataclass(frozen=True, slots=True)
class Written:
    """An entry that somebody puts on a queue by hand."""

    queue: str
    fields: Mapping[bytes, bytes]
    stands_in_lane: bool = True

    @property
    def lane(self) -> str | None:
        """Where it belongs; None where it names no lane."""
        try:
            return self.fields.get(b"lane", b"").decode() or None
        except UnicodeDecodeError:
            return None

    @property
    def is_read(self) -> bool:
        """Whether it is what belongs on its queue."""
        parse = parse_inbound if self.queue == INBOUND else parse_outbound
        try:
            parse(self.fields.get(b"body", b""))
        except UnreadableEntry:
            return False
        return self.stands_in_lane and self.lane is not None and b"body" in self.fields


ENTRIES = st.builds(
    Written,
    st.sampled_from(QUEUES),
    st.fixed_dictionaries({b"lane": LANES, b"body": BODIES}, optional={b"v": st.binary(max_size=4)})
    | st.dictionaries(
        st.sampled_from([b"lane", b"body"]) | st.binary(max_size=6), BODIES, min_size=1, max_size=4
    ),
    st.booleans(),
)
HEADS = st.tuples(
    st.sampled_from(QUEUES),
    st.sampled_from(["c", "good", "d"]),
    st.sampled_from([b"1-1", b"5", b"-", b"+", b"*", b"", b"0-0", b"9" * 30 + b"-1", b"1-" + b"9" * 30])
    | st.binary(max_size=8),
)


class Echo:
    """Says what it was asked, and breaks where it is asked to."""

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer."""
        await text.add("You said ")
        return Answer(kind="answer", text=f"You said {message.text}", stats=TurnStats(route="model"))


class Channel:
    """A connector that delivers everything."""

    name = "test"

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.has_sent = asyncio.Condition()

    async def run(self, publish: Publish) -> None:
        """Take nothing in."""

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Deliver a reply."""
        await progress.begin(0)
        async with self.has_sent:
            self.sent.append(message.text)
            self.has_sent.notify_all()
        await progress.placed(0, "remote")


class Hub:
    """The real worker and the real sender of a channel, each on its queue."""

    def __init__(self, url: str, stop: asyncio.Event) -> None:
        self.bus = Bus(url, BusSettings(max_attempts=2))
        self.client: Any = self.bus.redis
        self.channel = Channel()
        self.live = Live(self.bus.redis, connect_reader(url))
        self._stop = stop
        self._said = 0

    def consumers(self) -> list[Any]:
        """Make them."""
        memory = ConversationMemory(self.bus, People(self.bus.redis), history_turns=5, recalled_turns=2)
        worker = Worker(self.bus, self.live, Echo(), memory=memory, turn_timeout_s=10)
        sender = Sender(self.bus, self.channel, give_up_s=60)
        options = ConsumerOptions(
            concurrency=8, drain_timeout_s=1, backoff_s=0.001, stale_every_s=0.01, orphans_every_s=0.01
        )
        return [
            *self.bus.consumers(INBOUND, handle=worker.handle, bury=worker.bury, options=options),
            *self.bus.consumers(QUEUES[1], handle=sender.deliver, bury=sender.bury, options=options),
        ]

    async def write(self, written: Written) -> str:
        """Put an entry on its stream, and into its lane."""
        entry: bytes = await self.client.xadd(Keys().stream(written.queue), dict(written.fields))
        if written.stands_in_lane and written.lane is not None:
            await self.client.rpush(Keys().lane(written.queue, written.lane), entry)
        return entry.decode()

    async def is_answered(self) -> None:
        """Ask something and wait for its reply."""
        self._said += 1
        text = f"question {self._said}"
        message = MESSAGE.model_copy(
            update={"external_key": f"test:good:{self._said}", "conversation": "good", "text": text}
        )
        await self.bus.publish(message)
        async with asyncio.timeout(20), self.channel.has_sent:
            await self.channel.has_sent.wait_for(lambda: f"You said {text}" in self.channel.sent)

    async def nothing_waits(self) -> None:
        """Wait until both streams and all of their lanes are empty."""
        async with asyncio.timeout(20):
            while sum([await self.bus.backlog(queue) for queue in QUEUES]) or await self._lanes():
                await asyncio.sleep(0.002)

    async def _lanes(self) -> list[bytes]:
        patterns = [Keys().lane(queue, "*") for queue in QUEUES]
        return [key for pattern in patterns async for key in self.client.scan_iter(pattern, count=1000)]

    async def ended(self) -> tuple[set[str], set[str]]:
        """Return the entries that became dead letters, and the turns that events tell of."""
        dead = await self.client.xrange(Keys().dead)
        events = [parse_event(fields) for _, fields in await self.client.xrange(Keys().events)]
        return {fields[b"entry"].decode("utf-8", "replace") for _, fields in dead}, {
            event.turn for event in events if event is not None
        }


@pytest.fixture
async def hub(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Hub]:
    """A hub without channels of its own, at work."""
    stop = asyncio.Event()
    running = Hub(redis_server.url, stop)
    async with asyncio.TaskGroup() as tasks:
        for consumer in running.consumers():
            tasks.create_task(consumer.run(stop))
        yield running
        stop.set()
    await running.bus.close()


def _row(body: bytes, **fields: bytes) -> list[Written]:
    inner = {b"lane": b"c", b"body": body, **{name.encode(): value for name, value in fields.items()}}
    return [Written(queue, inner) for queue in QUEUES]


@given(entries=st.lists(ENTRIES, max_size=4), heads=st.lists(HEADS, max_size=2))
@example(entries=_row(MESSAGE.model_dump_json().encode(), v=b"99"), heads=[])
@example(entries=[Written(queue, {b"body": b"{}"}) for queue in QUEUES], heads=[])
@example(entries=_row(b"\xff\xfe\xfd", lane=b"\xff"), heads=[])
@example(entries=_row(b'{"text":"' + b"x" * 70_000 + b'"}'), heads=[])
@example(entries=_row(MESSAGE.model_dump_json().encode(), lane=b"a:{b}*\n"), heads=[])
@example(entries=[Written(queue, {b"lane": b"c", b"body": b"{}"}, False) for queue in QUEUES], heads=[])
@example(entries=[], heads=[(queue, lane, b"1-1") for queue in QUEUES for lane in ("c", "good")])
@example(entries=[], heads=[(queue, "good", b"\xff no id") for queue in QUEUES])
@example(
    entries=[
        Written(queue, {b"lane": b"c", **{b"f%d" % number: b"" for number in range(10_000)}})
        for queue in QUEUES
    ],
    heads=[],
)
@tried_on_one(60)
async def test_whatever_lies_on_a_queue_the_next_message_is_answered(
    hub: Hub, entries: Sequence[Written], heads: Sequence[tuple[str, str, bytes]]
) -> None:
    """What is no message is a dead letter, nothing stays behind, and nobody's worker or sender ends over it."""
    written = [(await hub.write(one), one) for one in entries]
    for queue, lane, head in heads:
        await hub.client.rpush(Keys().lane(queue, lane), head)

    await hub.is_answered()
    await hub.nothing_waits()

    dead, told = await hub.ended()
    for entry, one in written:
        assert entry in dead or one.is_read, one
        assert one.queue != INBOUND or entry in dead | told, one


NAMES = ["id", "caller", "until_ms", "request", "answer", "error", "order", "conversation", "turn", "offset"]
NAMES += [
    "text",
    "wait_s",
    "message",
    "connector",
    "route",
    "model",
    "account",
    "replaces",
    "forgets",
    "person",
]
NAMES += ["prompt_tokens", "answer_tokens", "cached_tokens", "attempts", "asked_at_ms", "flagged", "unclear"]
NAMES += [
    "queue_ms",
    "turn_ms",
    "recall_ms",
    "first_token_ms",
    "is_group",
    "identity",
    "value",
    "state",
    "tier",
]
VALUES = (
    st.sampled_from(
        [b"", b"0", b"1", b"c", b"api", b"0123456789ab", b"conversation", b"up", b"placed", b"1-0"]
    )
    | st.sampled_from(
        [b"1e999", b"nan", b"-1", b"9" * 30, b"9" * 400, b"\xff", b"\x00", b"{}", b"[]", b"null"]
    )
    | st.integers(0, 2**63).map(lambda number: str(number).encode())
    | st.binary(max_size=12)
    | st.text(max_size=12).map(lambda text: text.encode("utf-8", "replace"))
)
ONE_EVENT = {
    b"turn": b"1-0", b"connector": b"api", b"route": b"echo", b"queue_ms": b"1", b"turn_ms": b"1", b"wait_ms": b"1",
    b"conversation": b"c", b"account": b"0123456789ab", b"state": b"placed", b"person": b"p", b"value": b"up",
}  # fmt: skip
HEARD = st.builds(
    lambda kind, fields: {
        **ONE_EVENT,
        b"kind": kind,
        **{name.encode(): value for name, value in fields.items()},
    },
    st.sampled_from([b"turn", b"delivery", b"feedback", b"delta", b"final", b"waiting"]) | VALUES,
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5),
)


class Listeners:
    """All that follows a stream without a group, and what reads the events."""

    def __init__(self, url: str, redis: Redis, engine: AsyncEngine) -> None:
        self.redis: Any = redis
        self.caller = Caller(redis, connect_reader(url))
        self.control = Control(redis, connect_reader(url))
        self.live = Live(redis, connect_reader(url))
        self.metrics = EventMetrics(redis, connect_reader(url), Metrics())
        self._readers = [connect_reader(url), connect_reader(url)]
        self.projector = Projector(redis, self._readers[0], History(redis), engine)
        self.usage = UsageCounter(self._readers[1], engine)
        self.orders: asyncio.Queue[Order] = asyncio.Queue()
        self.control.listen(self.orders.put_nowait)

    async def close(self) -> None:
        """Close what nobody runs."""
        for reader in self._readers:
            await reader.aclose()


async def _answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"same": request["number"]}


@pytest.fixture
async def listeners(redis_server: RedisServer, redis: Redis, data: Path) -> AsyncIterator[Listeners]:
    """All of them, listening."""
    url = f"sqlite:///{data / 'hubbub.db'}"
    await asyncio.to_thread(upgrade, url)
    engine, stop = async_engine(url), asyncio.Event()
    made = Listeners(redis_server.url, redis, engine)
    async with asyncio.TaskGroup() as tasks:
        for loop in (made.caller.run, made.control.run, made.live.run, made.metrics.run):
            tasks.create_task(loop(stop))
        tasks.create_task(serve(redis, connect_reader(redis_server.url), {"echo": _answer}, stop))
        for one in (made.control, made.live, made.metrics):
            await one.ready.wait()
        yield made
        stop.set()
    await made.close()
    await engine.dispose()


def _event(kind: bytes, **fields: bytes) -> dict[bytes, bytes]:
    return {**ONE_EVENT, b"kind": kind, **{name.encode(): value for name, value in fields.items()}}


@given(heard=st.lists(HEARD, min_size=1, max_size=4), number=st.integers(0, 1000))
@example(heard=[_event(b"turn", asked_at_ms=b"9" * 18), _event(b"turn", attempts=b"9" * 400)], number=1)
@example(
    heard=[_event(b"turn", prompt_tokens=b"9" * 30, model=b"m"), _event(b"delivery", unclear=b"9" * 30)],
    number=2,
)
@example(heard=[_event(b"turn", turn=b"1-\xc2\xb2"), _event(b"turn", turn=b"9" * 5000)], number=3)
@example(heard=[_event(b"turn", queue_ms=b"1e999"), {b"id": b"\xff"}, {b"answer": b"{"}], number=4)
@tried_on_one(50)
async def test_whatever_is_heard_the_next_word_is_understood(
    listeners: Listeners, heard: Sequence[Mapping[bytes, bytes]], number: int
) -> None:
    """Calls and their answers, orders, live text and events: what is none is passed over, also by the database."""
    keys, redis = Keys(), listeners.redis
    answers = [key async for key in redis.scan_iter(keys.answers("*"))] or [keys.answers("nobody")]
    async with listeners.live.listen("c") as live:
        for fields in heard:
            for stream in (*answers, keys.control, keys.deltas, keys.events, keys.calls("echo")):
                await redis.xadd(stream, dict(fields))

        async with asyncio.timeout(5):
            assert await listeners.caller.call("echo", {"number": number}, timeout_s=5) == {"same": number}
            await listeners.control.send(Order(action="load", model=f"model {number}"))
            while (await listeners.orders.get()).model != f"model {number}":
                pass
            text = f"said {number}"
            await listeners.live.announce(REPLY.model_copy(update={"conversation": "c", "text": text}))
            async for event in live:
                if event.message is not None and event.message.text == text:
                    break
            last = (await redis.xinfo_stream(keys.events))["last-generated-id"].decode()
            await listeners.projector.catch_up()
            await listeners.usage.catch_up()
            assert (await listeners.projector.positions())[keys.events] == last
