"""The consumer's loop: order, fairness, back-off, drain and lost leases, on a real Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.bus import consumer as consumer_module
from hub.bus.connection import connect_reader
from hub.bus.consumer import Consumer, ConsumerOptions, GiveBack, consumer_name
from hub.bus.keys import Keys
from hub.bus.queue import Busy, Commit, CommitOutcome, Lease, OrderedQueue, QueueLimits
from hub.bus.reader import StreamReader
from tests.servers.redis import RedisServer

OPTIONS = ConsumerOptions(stale_every_s=0.1, orphans_every_s=0.2, backoff_s=0.01, drain_timeout_s=5)
Work = Callable[[Lease], Awaitable[None]]


class Bench:
    """A queue, consumers on it, and what they did."""

    def __init__(self, url: str, redis: Redis, *, lease_s: float = 30.0, attempts: int = 5) -> None:
        self.url = url
        limits = QueueLimits(lease_s=lease_s, attempts=attempts)
        self.queue = OrderedQueue(redis, Keys(), "inbound", "engine", limits)
        self.finished: list[str] = []
        self.buried: list[str] = []
        self.told: list[str] = []
        self.hears = True
        self._progress = asyncio.Condition()

    async def publish(self, *bodies: str) -> list[str]:
        """Publish bodies; the letters in front of a body's number name its lane."""
        return [
            (await self.queue.publish(body, body.rstrip("0123456789"), body.encode(), remember_s=60)).entry
            for body in bodies
        ]

    def consumer(self, work: Work, options: ConsumerOptions = OPTIONS) -> Consumer:
        """Make a consumer that notes what it finished."""

        async def handle(lease: Lease) -> Commit:
            await work(lease)
            await self._note(self.finished, lease)
            return Commit(ended=self._hear)

        async def bury(lease: Lease) -> Commit:
            await self._note(self.buried, lease)
            return Commit(dead_letter="used up")

        name = consumer_name()
        reader = StreamReader(self.queue, connect_reader(self.url), name)
        return Consumer(self.queue, reader, name=name, handle=handle, bury=bury, options=options)

    def _hear(self, outcome: CommitOutcome, commit_ms: float) -> None:
        assert self.hears
        assert commit_ms > 0
        self.told.append(outcome)

    async def _note(self, notes: list[str], lease: Lease) -> None:
        async with self._progress:
            notes.append(lease.body.decode())
            self._progress.notify_all()

    @contextlib.asynccontextmanager
    async def running(self, work: Work, options: ConsumerOptions = OPTIONS) -> AsyncIterator[asyncio.Event]:
        """Run a consumer while the block lasts; yields its stop event."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.consumer(work, options).run(stop))
        try:
            yield stop
        finally:
            stop.set()
            await task

    async def until(self, count: int) -> None:
        """Wait until so many heads were finished or buried."""
        async with asyncio.timeout(20), self._progress:
            await self._progress.wait_for(lambda: len(self.finished) + len(self.buried) >= count)

    async def until_empty(self) -> None:
        """Wait until everything is committed."""
        async with asyncio.timeout(20):
            while await self.queue.backlog():
                await asyncio.sleep(0.01)


@pytest.fixture
def bench(redis_server: RedisServer, redis: Redis) -> Bench:
    """An empty queue."""
    return Bench(redis_server.url, redis)


async def at_once(lease: Lease) -> None:
    """Work that takes no time."""


def of_lane(bodies: list[str], lane: str) -> list[str]:
    """Return the bodies of one lane."""
    return [body for body in bodies if body.rstrip("0123456789") == lane]


async def test_each_lane_is_worked_through_in_order_by_several_consumers(bench: Bench) -> None:
    """However the entries are dealt out, each conversation keeps its order and is answered once."""
    bodies = [f"{lane}{number}" for number in range(12) for lane in "abcdef"]

    async with bench.running(at_once), bench.running(at_once), bench.running(at_once):
        await bench.publish(*bodies)
        await bench.until(len(bodies))

    for lane in "abcdef":
        assert of_lane(bench.finished, lane) == [f"{lane}{number}" for number in range(12)]
    assert len(bench.finished) == len(bodies)


@pytest.mark.parametrize("hears", [True, False])
async def test_a_handler_is_told_how_each_commit_ended(bench: Bench, hears: bool) -> None:
    """One that cannot hear it holds nothing up: what is stored is stored."""
    bench.hears = hears

    async with bench.running(at_once):
        await bench.publish("a0", "a1", "a2")
        await bench.until_empty()

    assert bench.finished == ["a0", "a1", "a2"]
    assert bench.told == ["committed"] * (3 if hears else 0)


async def test_long_lanes_let_others_have_their_slot(bench: Bench) -> None:
    """With every slot taken by a long conversation, a newcomer waits for eight turns of it and not for all."""
    await bench.publish(*(f"long{number}" for number in range(60)))
    began, newcomer = asyncio.Event(), asyncio.Event()

    async def work(lease: Lease) -> None:
        began.set()
        await newcomer.wait()
        await asyncio.sleep(0.005)

    async with bench.running(work, replace(OPTIONS, concurrency=1)):
        await began.wait()
        await bench.publish("short0")
        newcomer.set()
        await bench.until(61)

    assert bench.finished.index("short0") < 40
    assert of_lane(bench.finished, "long") == [f"long{number}" for number in range(60)]


async def test_a_lane_that_waits_holds_no_slot(bench: Bench) -> None:
    """A destination that cannot be reached for now does not stop the others."""

    async def work(lease: Lease) -> None:
        if lease.lane == "away" and not bench.finished:
            raise GiveBack(0.3)

    async with bench.running(work, replace(OPTIONS, concurrency=1)):
        await bench.publish("away0", "here0")
        await bench.until(2)

    assert bench.finished == ["here0", "away0"]


async def test_giving_back_without_blame_never_ends_in_the_dead_letters(bench: Bench) -> None:
    """Twenty times not now is no reason to give a message up."""
    retries: list[int] = []

    async def work(lease: Lease) -> None:
        retries.append(lease.retries)
        if lease.retries < 20:
            raise GiveBack(0.001)

    async with bench.running(work):
        await bench.publish("a0")
        await bench.until(1)

    assert retries == list(range(21))
    assert bench.buried == []


async def test_counted_failures_end_in_the_dead_letters(bench: Bench) -> None:
    """Five attempts, then the next head."""
    attempts: list[int] = []

    async def work(lease: Lease) -> None:
        if lease.body == b"a0":
            attempts.append(lease.attempts)
            raise ValueError("broken")

    async with bench.running(work):
        await bench.publish("a0", "a1")
        await bench.until(2)
        await bench.until_empty()

    assert attempts == [1, 2, 3, 4, 5]
    assert (bench.buried, bench.finished) == (["a0"], ["a1"])


async def test_a_lost_lease_stops_the_work_at_once(redis_server: RedisServer, redis: Redis) -> None:
    """What is being generated for a conversation that has another owner must not go on."""
    bench = Bench(redis_server.url, redis, lease_s=3)
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def work(lease: Lease) -> None:
        if began.is_set():
            return
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with bench.running(work):
        [entry] = await bench.publish("a0")
        await began.wait()
        async with asyncio.timeout(20):
            taken = None
            while not isinstance(taken, Lease):  # its owner may renew it in between
                await bench.queue.redis.hset(bench.queue.keys.lease("inbound", "a"), "expires", 0)
                taken = await bench.queue.enter(entry, "a", "thief")
            await cancelled.wait()
        await bench.queue.nack(taken, delay_s=0, counts=False)
        await bench.until(1)

    assert bench.finished == ["a0"]


async def test_a_lease_taken_by_a_late_repetition_of_our_own_is_entered_again(bench: Bench) -> None:
    """Nobody else would come: an answer to ENTER that was given up is carried out late and takes the lane over."""
    began = asyncio.Event()
    turns = 0

    async def work(lease: Lease) -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            began.set()
            await again.wait()

    again = asyncio.Event()
    consumer = bench.consumer(work)
    stop = asyncio.Event()
    running = asyncio.create_task(consumer.run(stop))
    [entry] = await bench.publish("a0")
    await began.wait()
    assert isinstance(await bench.queue.enter(entry, "a", consumer.name), Lease)
    again.set()
    await bench.until_empty()
    stop.set()
    await running

    assert turns == 2


async def test_draining_finishes_what_runs_and_begins_nothing(bench: Bench) -> None:
    """Shutdown: the running turn commits, the lane's next head is left for others at once."""
    began, go_on = asyncio.Event(), asyncio.Event()

    async def work(lease: Lease) -> None:
        began.set()
        await go_on.wait()

    async with bench.running(work) as stop:
        entries = await bench.publish("a0", "a1")
        await began.wait()
        stop.set()
        go_on.set()

    assert bench.finished == ["a0"]
    following = await bench.queue.enter(entries[1], "a", "other")
    assert isinstance(following, Lease)
    assert (following.body, following.attempts) == (b"a1", 1)


async def test_a_turn_longer_than_the_grace_period_is_given_back_without_blame(bench: Bench) -> None:
    """The next worker enters at once, and the attempt does not count."""
    began = asyncio.Event()

    async def work(lease: Lease) -> None:
        began.set()
        await asyncio.Event().wait()

    async with bench.running(work, replace(OPTIONS, drain_timeout_s=0.05)):
        [entry] = await bench.publish("a0")
        await began.wait()

    lease = await bench.queue.enter(entry, "a", "other")
    assert isinstance(lease, Lease)
    assert (lease.attempts, lease.retries, bench.finished) == (1, 1, [])


async def test_a_drained_consumer_leaves_its_unfinished_entries_to_the_others(bench: Bench) -> None:
    """RETIRE while leases are held elsewhere: no name stays behind, no entry is out of reach."""
    client: Any = bench.queue.redis
    began = asyncio.Event()

    async def work(lease: Lease) -> None:
        began.set()
        await asyncio.Event().wait()

    async with bench.running(work, replace(OPTIONS, drain_timeout_s=0.05)):
        await bench.publish("a0", "a1", "b0")
        await began.wait()
    names = [item["name"] for item in await client.xinfo_consumers(bench.queue.stream, "engine")]
    async with bench.running(at_once):
        # Far sooner than the lease of 30 s.
        await bench.until(3)

    assert names in ([], [b"orphans"])
    assert sorted(bench.finished) == ["a0", "a1", "b0"]


async def test_the_entry_of_a_lane_whose_owner_died_after_a_look_is_found_in_one_lease(
    redis_server: RedisServer, redis: Redis
) -> None:
    """Looking at a busy lane does not put off the time at which it is looked at again."""
    bench = Bench(redis_server.url, redis, lease_s=1.0)
    client: Any = redis
    await client.xgroup_create(bench.queue.stream, "engine", id="0", mkstream=True)
    [entry] = await bench.publish("a0")
    await client.xreadgroup("engine", "dead", {bench.queue.stream: ">"})
    held = await bench.queue.enter(entry, "a", "dead")
    assert isinstance(held, Lease)

    clock = asyncio.get_running_loop().time
    async with bench.running(at_once):
        # Looked at, while its owner lives, for longer than a lease.
        until = clock() + 1.5
        while clock() < until:
            await bench.queue.renew(held)
            await asyncio.sleep(0.05)
        died = clock()
        await bench.until(1)

    # A second lease would have begun at the last look.
    assert clock() - died < 2 * 1.0 + 2
    assert isinstance(await bench.queue.enter(entry, "a", "x"), Busy | None)


async def test_a_suspect_runs_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head whose workers have ended twice meets nobody whom it could take along."""
    monkeypatch.setattr(consumer_module, "SUSPECT_CRASHES", 1)
    client: Any = bench.queue.redis
    await client.xgroup_create(bench.queue.stream, "engine", id="0", mkstream=True)
    [entry, *_] = await bench.publish("suspect0", *(f"{lane}{n}" for n in range(3) for lane in "abc"))
    await bench.queue.enter(entry, "suspect", "dead")
    await client.hset(bench.queue.keys.lease("inbound", "suspect"), "expires", 0)
    inside: set[str] = set()
    beside: list[set[str]] = []

    async def work(lease: Lease) -> None:
        inside.add(lease.lane)
        if "suspect" in inside:
            beside.append(set(inside))
        await asyncio.sleep(0.02)
        if "suspect" in inside:
            beside.append(set(inside))
        inside.discard(lease.lane)

    async with bench.running(work):
        await bench.until(10)

    assert beside == [{"suspect"}, {"suspect"}]
    assert len(bench.finished) == 10
