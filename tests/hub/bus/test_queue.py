"""The ordered queue's scripts on real servers, the oldest supported one among them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.exceptions

from hub.bus.connection import connect
from hub.bus.deliveries import Deliveries
from hub.bus.effects import append_effect, event_effect, publish_effect, set_effect
from hub.bus.keys import Keys
from hub.bus.queue import Busy, Commit, Lease, OrderedQueue, QueueLimits
from hub.errors import BusError, LeaseLost
from tests.servers.redis import RedisServer


@pytest.fixture
async def queue(every_redis: RedisServer) -> AsyncIterator[OrderedQueue]:
    """An empty inbound queue with small limits and a consumer group."""
    client = connect(every_redis.url)
    await client.flushall()
    limits = QueueLimits(backlog=6, lane=4, lease_s=2, attempts=3)
    queue = OrderedQueue(client, Keys(), "inbound", "engine", limits)
    await client.xgroup_create(queue.stream, "engine", id="0", mkstream=True)
    yield queue
    await client.aclose()


def raw(queue: OrderedQueue) -> Any:
    """The client, without redis-py's unions."""
    return queue.redis


async def publish(queue: OrderedQueue, key: str, lane: str = "a") -> str:
    """Publish one entry whose body is its key."""
    return (await queue.publish(key, lane, key.encode(), remember_s=60)).entry


async def entered(queue: OrderedQueue, entry: str, owner: str = "me", lane: str = "a") -> Lease:
    """Enter a lane that must be free."""
    lease = await queue.enter(entry, lane, owner)
    assert isinstance(lease, Lease)
    return lease


async def worker_ends(queue: OrderedQueue, lane: str = "a") -> None:
    """Let the lease run out, as it does when its worker is killed."""
    await raw(queue).hset(queue.keys.lease(queue.name, lane), "expires", 0)


async def test_the_same_external_key_is_accepted_once(queue: OrderedQueue) -> None:
    """A repeated message gets the first one's id and adds nothing."""
    first = await queue.publish("tg:1", "a", b"hello", remember_s=60)
    second = await queue.publish("tg:1", "a", b"other", remember_s=60)

    assert (first.status, second.status) == ("OK", "DUPLICATE")
    assert second.entry == first.entry
    assert await queue.backlog() == 1


async def test_overload_is_refused_before_anything_is_written(queue: OrderedQueue) -> None:
    """A full lane and a full stream are told apart, and neither stores a part."""
    for number in range(4):
        await publish(queue, f"k{number}")
    lane_full = await queue.publish("k4", "a", b"x", remember_s=60)
    for number in range(2):
        await publish(queue, f"other{number}", "b")
    full = await queue.publish("k5", "c", b"x", remember_s=60)

    assert (lane_full.status, full.status) == ("LANE_FULL", "FULL")
    assert await queue.redis.exists(queue.keys.seen("k4"), queue.keys.seen("k5")) == 0


async def test_entering_gives_the_head_not_the_delivered_entry(queue: OrderedQueue) -> None:
    """Whichever entry a worker was given, it works on the oldest."""
    first = await publish(queue, "1")
    second = await publish(queue, "2")

    lease = await entered(queue, second)

    assert (lease.head, lease.body) == (first, b"1")


async def test_a_lane_has_one_owner_at_a_time(queue: OrderedQueue) -> None:
    """Another worker is told how long the lease lasts."""
    entry = await publish(queue, "1")
    await entered(queue, entry, "me")

    answer = await queue.enter(entry, "a", "you")

    assert isinstance(answer, Busy)
    assert 0 < answer.for_ms <= 2000


async def test_commit_writes_everything_and_hands_over_the_next_head(queue: OrderedQueue) -> None:
    """Reply, history, facts, event and acknowledgement are one step."""
    entry, following = await publish(queue, "1"), await publish(queue, "2")
    lease = await entered(queue, entry)
    keys = queue.keys

    handed_over = await queue.commit(
        lease,
        "me",
        Commit(
            (
                publish_effect(keys, "outbound:web", "a", b"reply"),
                append_effect(keys.history("a"), b"turn", keep=2),
                set_effect(keys.facts("a"), {"name": "Omdeep"}, ttl_s=60),
                event_effect(keys, {"kind": "turn", "ms": 3}),
            )
        ),
    )

    assert handed_over is not None
    assert handed_over.head == following
    assert await queue.redis.lrange(keys.lane("inbound", "a"), 0, -1) == [following.encode()]
    [(reply, fields)] = await raw(queue).xrange(keys.stream("outbound:web"))
    assert fields == {b"lane": b"a", b"body": b"reply"}
    assert await queue.redis.lrange(keys.lane("outbound:web", "a"), 0, -1) == [reply]
    assert await queue.redis.lrange(keys.history("a"), 0, -1) == [b"turn"]
    assert await queue.redis.hgetall(keys.facts("a")) == {b"name": b"Omdeep"}
    assert await queue.redis.xlen(keys.events) == 1
    assert await queue.backlog() == 1


async def test_commit_repeated_after_a_lost_answer_writes_once(queue: OrderedQueue) -> None:
    """The same fence gets the same answer, and there is one reply."""
    entry = await publish(queue, "1")
    lease = await entered(queue, entry)
    commit = Commit((publish_effect(queue.keys, "outbound:web", "a", b"reply"),))

    answers = [await queue.commit(lease, "me", commit) for _ in range(3)]

    assert answers == [None, None, None]
    assert await queue.redis.xlen(queue.keys.stream("outbound:web")) == 1


async def test_a_stale_fence_changes_nothing(queue: OrderedQueue) -> None:
    """A worker that slept past its lease is refused."""
    entry = await publish(queue, "1")
    stale = await entered(queue, entry, "me")
    async with asyncio.timeout(30):
        while isinstance(fresh := await queue.enter(entry, "a", "you"), Busy):
            await asyncio.sleep(0.05)
    commit = Commit((publish_effect(queue.keys, "outbound:web", "a", b"reply"),))

    with pytest.raises(LeaseLost):
        await queue.commit(stale, "me", commit)
    assert not await queue.renew(stale)
    assert await queue.redis.exists(queue.keys.stream("outbound:web")) == 0
    assert isinstance(fresh, Lease)
    assert fresh.attempts == 2
    assert await queue.commit(fresh, "you", commit) is None


async def test_a_wrong_type_is_found_before_the_first_write(queue: OrderedQueue) -> None:
    """A commit is all or nothing, also when an operator has damaged a key."""
    entry = await publish(queue, "1")
    lease = await entered(queue, entry)
    await queue.redis.set(queue.keys.history("a"), "damaged")
    commit = Commit(
        (
            publish_effect(queue.keys, "outbound:web", "a", b"reply"),
            append_effect(queue.keys.history("a"), b"turn", keep=2),
        )
    )

    with pytest.raises(BusError, match="expected a list"):
        await queue.commit(lease, "me", commit)
    assert await queue.redis.exists(queue.keys.stream("outbound:web")) == 0

    await queue.redis.delete(queue.keys.history("a"))
    assert await queue.commit(lease, "me", commit) is None


async def test_a_head_given_back_stays_first_and_waits(queue: OrderedQueue) -> None:
    """Nobody enters before the delay is over; an innocent return is not counted."""
    first = await publish(queue, "1")
    second = await publish(queue, "2")
    lease = await entered(queue, first)

    await queue.nack(lease, delay_s=1, counts=False)

    assert isinstance(await queue.enter(second, "a", "you"), Busy)
    async with asyncio.timeout(30):
        while isinstance(again := await queue.enter(second, "a", "you"), Busy):
            await asyncio.sleep(0.02)
    assert isinstance(again, Lease)
    assert (again.head, again.attempts, again.retries) == (first, 1, 1)


async def test_a_head_that_ends_every_worker_leaves_for_the_dead_letters(queue: OrderedQueue) -> None:
    """A poison message frees its conversation even if no worker survives to bury it."""
    poison = await publish(queue, "poison")
    good = await publish(queue, "good")
    for worker in range(5):
        await entered(queue, good, f"worker {worker}")
        await worker_ends(queue)

    lease = await entered(queue, good, "survivor")

    assert lease.head == good
    [(_, letter)] = await raw(queue).xrange(queue.keys.dead)
    assert (letter[b"entry"], letter[b"body"]) == (poison.encode(), b"poison")


async def test_a_trimmed_message_is_a_dead_letter_and_not_an_empty_turn(queue: OrderedQueue) -> None:
    """An entry somebody deleted from the stream never reaches the engine."""
    gone = await publish(queue, "1")
    here = await publish(queue, "2")
    await queue.redis.xdel(queue.stream, gone)

    lease = await entered(queue, here)

    assert lease.head == here
    [(_, letter)] = await raw(queue).xrange(queue.keys.dead)
    assert letter[b"reason"] == b"the message is no longer on the stream"


async def test_entering_again_after_a_lost_answer_is_no_further_attempt(queue: OrderedQueue) -> None:
    """Only an attempt that ended its worker, or counted as failed, brings a message closer to the dead letters."""
    entry = await publish(queue, "1")
    first = await entered(queue, entry, "me")

    again = await entered(queue, entry, "me")
    await worker_ends(queue)
    other = await entered(queue, entry, "you")

    assert (first.attempts, again.attempts, other.attempts) == (1, 1, 2)
    assert first.fence < again.fence < other.fence


async def test_an_entry_that_never_stood_in_a_lane_is_a_dead_letter(queue: OrderedQueue) -> None:
    """What was written past `publish` is not dropped in silence."""
    entry = (await raw(queue).xadd(queue.stream, {"lane": "a", "body": "by hand"})).decode()

    assert await queue.enter(entry, "a", "me") is None

    [(_, letter)] = await raw(queue).xrange(queue.keys.dead)
    assert (letter[b"body"], letter[b"reason"]) == (b"by hand", b"the entry stands in no lane")
    assert await queue.backlog() == 0


async def test_a_head_given_back_is_stale_when_its_delay_is_over(queue: OrderedQueue) -> None:
    """Its worker may end while it waits; the others need not wait for a whole lease."""
    entry = await publish(queue, "1")
    await raw(queue).xreadgroup("engine", "me", {queue.stream: ">"}, count=1)
    lease = await entered(queue, entry)

    await queue.nack(lease, delay_s=0.1, counts=False)

    [pending] = await raw(queue).xpending_range(queue.stream, "engine", "-", "+", 10)
    assert pending["time_since_delivered"] >= 1900
    assert pending["times_delivered"] == 1


async def test_a_finished_entry_is_done_for_everybody(queue: OrderedQueue) -> None:
    """A second delivery of an entry that was committed starts nothing."""
    entry = await publish(queue, "1")
    await queue.commit(await entered(queue, entry), "me", Commit())

    assert await queue.enter(entry, "a", "you") is None


async def test_retiring_offers_unfinished_entries_at_once(queue: OrderedQueue) -> None:
    """A consumer that leaves loses nothing and leaves no name behind."""
    await publish(queue, "1")
    await queue.redis.xreadgroup("engine", "me", {queue.stream: ">"}, count=10)

    assert await queue.retire("me") == 1

    pending = await queue.redis.xpending_range(queue.stream, "engine", "-", "+", 10, idle=3_600_000)
    assert [item["consumer"] for item in pending] == [b"orphans"]
    names = [consumer["name"] for consumer in await queue.redis.xinfo_consumers(queue.stream, "engine")]
    assert names == [b"orphans"]


async def test_a_part_is_begun_by_the_owner_of_the_destination_only(queue: OrderedQueue) -> None:
    """A sender that lost its destination does not send."""
    lease = await entered(queue, await publish(queue, "1"))
    deliveries = Deliveries(queue)
    await deliveries.begin(lease, "r:0", 0, remember_s=60)
    await deliveries.place("r:0", 0, "remote", remember_s=60)
    await queue.nack(lease, delay_s=0, counts=False)

    with pytest.raises(LeaseLost):
        await deliveries.begin(lease, "r:0", 1, remember_s=60)
    state = await queue.redis.hgetall(queue.keys.sent("r:0"))
    assert (state[b"state"], state[b"placed:0"], state[b"attempts"]) == (b"placed", b"remote", b"1")


async def test_scripts_come_back_after_a_flush(queue: OrderedQueue) -> None:
    """A server that forgot the scripts is given them again."""
    await publish(queue, "1")
    await queue.redis.script_flush()

    assert await publish(queue, "2")


async def test_a_server_that_is_away_is_a_bus_error(queue: OrderedQueue) -> None:
    """Callers meet our error, not the library's."""
    away = OrderedQueue(connect("redis://127.0.0.1:1"), Keys(), "inbound", "engine")

    with pytest.raises(BusError):
        await away.publish("k", "a", b"x", remember_s=1)
    assert issubclass(BusError, Exception)
    assert not issubclass(BusError, redis.exceptions.RedisError)
