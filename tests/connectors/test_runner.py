"""The pump: what is sent, repeated, counted, refused and given up, on a real Redis with a scripted channel."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from connectors.base import Accepted, Progress, Publish
from connectors.runner import RedisProgress, Sender, run_connector
from hub.bus.bus import Bus
from hub.bus.consumer import ConsumerOptions, GiveBack
from hub.bus.keys import Keys
from hub.bus.queue import Lease, OrderedQueue
from hub.errors import BusFull, DeliveryRefused, LeaseLost, RetryLater
from hub.events import DeliveryEvent, parse_event
from hub.interactions import InteractionLog
from hub.messages import Address, InboundMessage, OutboundMessage, utc_now
from hub.settings import BusSettings
from tests.servers.redis import RedisServer

Send = Callable[[OutboundMessage, Progress], Awaitable[None]]
Run = Callable[[Publish], Awaitable[None]]
ADDRESS = Address(connector="test", account="a", chat="c", person="p")


async def idle(publish: Publish) -> None:
    """Take nothing in."""
    await asyncio.Event().wait()


async def confirm(message: OutboundMessage, progress: Progress) -> None:
    """Send in one part, confirmed at once."""
    await progress.begin(0)
    await progress.placed(0, "remote")


class Channel:
    """A connector that does what the test says."""

    name = "test"

    def __init__(self, send: Send = confirm, run: Run = idle) -> None:
        self._send = send
        self._run = run
        self.sent: list[str] = []

    async def run(self, publish: Publish) -> None:
        """Take in what the test says."""
        await self._run(publish)

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Send as the test says."""
        self.sent.append(message.text)
        await self._send(message, progress)


@pytest.fixture
async def bus(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Bus]:
    """A bus over an empty Redis."""
    bus = Bus(redis_server.url, BusSettings(max_backlog=3))
    yield bus
    await bus.close()


@pytest.fixture
def queue(bus: Bus) -> OrderedQueue:
    """The outbound queue of the channel."""
    return bus.queue("outbound:test", 0)


def reply(text: str, *, age_s: float = 0) -> OutboundMessage:
    """Make a reply of conversation `c`."""
    return OutboundMessage(
        reply_id=f"{text}:0",
        turn=text,
        conversation="c",
        address=ADDRESS,
        text=text,
        created_at=utc_now() - timedelta(seconds=age_s),
    )


async def entered(
    queue: OrderedQueue, message: OutboundMessage, owner: str = "me", *, age_s: float = 0
) -> Lease:
    """Publish a reply, so long ago as it is told, and take its lease."""
    body = message.model_dump_json().encode()
    if age_s:
        client: Any = queue.redis
        entry = f"{int((time.time() - age_s) * 1000)}-0"
        await client.xadd(queue.stream, {"lane": "c", "body": body}, id=entry)
        await client.rpush(queue.keys.lane(queue.name, "c"), entry)
    else:
        entry = (await queue.publish(message.reply_id, "c", body, remember_s=60)).entry
    lease = await queue.enter(entry, "c", owner)
    assert isinstance(lease, Lease)
    return lease


async def taken_over(queue: OrderedQueue, lease: Lease, owner: str) -> Lease:
    """Let the sender of a lease die and another take its destination."""
    client: Any = queue.redis
    await client.hset(queue.keys.lease(queue.name, lease.lane), "expires", 0)
    fresh = await queue.enter(lease.head, lease.lane, owner)
    assert isinstance(fresh, Lease)
    return fresh


async def events(redis: Any) -> list[DeliveryEvent]:
    """Return the deliveries on the events stream."""
    found = [parse_event(fields) for _, fields in await redis.xrange(Keys().events)]
    return [event for event in found if isinstance(event, DeliveryEvent)]


async def test_replies_are_sent_in_order_and_recorded(bus: Bus, redis: Redis, tmp_path: Path) -> None:
    """Each delivery is an event, a state and, where the operator wants it, a line."""
    record = tmp_path / "log.jsonl"
    queue, channel, stop = bus.queue("outbound:test", 0), Channel(), asyncio.Event()
    sender = Sender(bus, channel, give_up_s=60, recorder=InteractionLog(record))
    running = asyncio.create_task(run_connector(channel, bus, sender, stop, options=ConsumerOptions()))
    for text in ("one", "two", "three"):
        await queue.publish(text, "c", reply(text).model_dump_json().encode(), remember_s=60)
    async with asyncio.timeout(20):
        while await queue.backlog():
            await asyncio.sleep(0.01)
    stop.set()
    await running

    assert channel.sent == ["one", "two", "three"]
    assert [(event.turn, event.state, event.unclear) for event in await events(redis)] == [
        (text, "placed", 0) for text in ("one", "two", "three")
    ]
    assert [json.loads(line)["answer"] for line in record.read_text().splitlines()] == ["one", "two", "three"]
    assert await redis.hget(Keys().sent("one:0"), "state") == b"placed"


async def test_a_refused_reply_is_failed_and_not_repeated(bus: Bus, queue: OrderedQueue) -> None:
    """The peer's last word."""

    async def refuse(message: OutboundMessage, progress: Progress) -> None:
        raise DeliveryRefused("blocked by the person")

    lease = await entered(queue, reply("a"))
    commit = await Sender(bus, Channel(refuse), give_up_s=60).deliver(lease)
    await queue.commit(lease, "me", commit)

    assert commit.dead_letter == ""
    assert (await queue.redis.hgetall(Keys().sent("a:0")))[b"state"] == b"failed"


async def test_a_peer_that_asks_to_wait_is_obeyed(bus: Bus, queue: OrderedQueue) -> None:
    """Its word counts, and the request it turned down is not unclear."""

    async def slow_down(message: OutboundMessage, progress: Progress) -> None:
        await progress.begin(0)
        raise RetryLater(7, "429")

    lease = await entered(queue, reply("a"))
    with pytest.raises(GiveBack) as given:
        await Sender(bus, Channel(slow_down), give_up_s=60).deliver(lease)

    assert 7 <= given.value.delay_s < 8
    assert not given.value.counts
    assert (await RedisProgress.load(queue, lease, "a:0")).unclear_part is None


async def test_a_reply_that_is_too_old_is_given_up_with_its_last_request(
    bus: Bus, queue: OrderedQueue, redis: Redis
) -> None:
    """Whether that one arrived nobody knows, and it is counted."""

    async def vanish(message: OutboundMessage, progress: Progress) -> None:
        await progress.begin(0)
        raise RetryLater(1, "no answer", unclear=True)

    lease = await entered(queue, reply("a"), age_s=100)
    commit = await Sender(bus, Channel(vanish), give_up_s=60).deliver(lease)
    await queue.commit(lease, "me", commit)

    assert commit.dead_letter == "given up: no answer"
    assert [(event.state, event.unclear) for event in await events(redis)] == [("gave_up", 1)]


@pytest.mark.parametrize("days", [-4, 4])
async def test_a_reply_is_as_old_as_redis_says(bus: Bus, queue: OrderedQueue, days: int) -> None:
    """The clock of the machine that answered is wrong by days; its reply is tried as long as every other."""

    async def away(message: OutboundMessage, progress: Progress) -> None:
        raise RetryLater(1, "nobody is there")

    sender = Sender(bus, Channel(away), give_up_s=60)
    old = await entered(queue, reply("a", age_s=days * 86_400), age_s=100)
    commit = await sender.deliver(old)
    assert commit.dead_letter.startswith("given up")

    await queue.commit(old, "me", commit)
    lease = await entered(queue, reply("b", age_s=days * 86_400))
    with pytest.raises(GiveBack):
        await sender.deliver(lease)


async def test_a_request_whose_sender_died_is_unclear_until_it_is_settled(queue: OrderedQueue) -> None:
    """Counted once, however many senders look at it before one sends again."""
    first = await entered(queue, reply("a"), "first")
    await (await RedisProgress.load(queue, first, "a:0")).begin(1)

    second = await taken_over(queue, first, "second")
    seen = await RedisProgress.load(queue, second, "a:0")
    third = await taken_over(queue, second, "third")
    again = await RedisProgress.load(queue, third, "a:0")

    assert (seen.unclear_part, seen.unclear_sends) == (1, 1)
    assert (again.unclear_part, again.unclear_sends) == (1, 1)
    await again.begin(1)
    await again.placed(1, "remote")
    settled = await RedisProgress.load(queue, third, "a:0")
    assert (settled.unclear_part, settled.unclear_sends, settled.placed_parts) == (None, 1, {1: "remote"})


async def test_each_further_unanswered_request_is_counted(queue: OrderedQueue) -> None:
    """Two requests that may both have arrived are two."""
    lease = await entered(queue, reply("a"), "0")
    for sender in ("1", "2"):
        await (await RedisProgress.load(queue, lease, "a:0")).begin(0)
        lease = await taken_over(queue, lease, sender)

    assert (await RedisProgress.load(queue, lease, "a:0")).unclear_sends == 2


async def test_a_request_turned_down_leaves_an_earlier_one_unclear(queue: OrderedQueue) -> None:
    """The peer did nothing with the second; what it did with the first is as open as before."""
    first = await entered(queue, reply("a"), "first")
    await (await RedisProgress.load(queue, first, "a:0")).begin(0)
    second = await taken_over(queue, first, "second")
    progress = await RedisProgress.load(queue, second, "a:0")

    await progress.begin(0)
    await progress.not_carried_out()

    again = await RedisProgress.load(queue, second, "a:0")
    assert (again.unclear_part, again.unclear_sends) == (0, 1)


async def test_a_sender_that_lost_its_destination_changes_no_record(queue: OrderedQueue) -> None:
    """It may wake up while its successor's request is under way, whose copy would go uncounted."""
    first = await entered(queue, reply("a"), "first")
    stale = await RedisProgress.load(queue, first, "a:0")
    await stale.begin(0)
    second = await taken_over(queue, first, "second")
    await (await RedisProgress.load(queue, second, "a:0")).begin(0)

    for act in (
        lambda: stale.begin(0),
        stale.not_carried_out,
        lambda: RedisProgress.load(queue, first, "a:0"),
    ):
        with pytest.raises(LeaseLost):
            await act()

    third = await taken_over(queue, second, "third")
    assert (await RedisProgress.load(queue, third, "a:0")).unclear_sends == 2


async def test_what_the_peer_confirmed_to_a_late_sender_is_not_sent_again(queue: OrderedQueue) -> None:
    """It is a fact, whoever reports it."""
    first = await entered(queue, reply("a"), "first")
    stale = await RedisProgress.load(queue, first, "a:0")
    await stale.begin(0)
    second = await taken_over(queue, first, "second")

    await stale.placed(0, "remote")

    assert (await RedisProgress.load(queue, second, "a:0")).placed_parts == {0: "remote"}


async def test_a_full_disk_does_not_have_a_reply_sent_again(bus: Bus, queue: OrderedQueue) -> None:
    """It stands at its destination; only its line is missing."""

    class FullDisk:
        async def record(self, message: OutboundMessage, is_wanted: Callable[[], Awaitable[bool]]) -> None:
            raise OSError("No space left on device")

    lease = await entered(queue, reply("a"))
    with capture_logs() as logs:
        commit = await Sender(bus, Channel(), give_up_s=60, recorder=FullDisk()).deliver(lease)

    assert commit.dead_letter == ""
    assert "interaction_not_recorded" in [entry["event"] for entry in logs]


async def test_an_unreadable_reply_is_a_dead_letter(bus: Bus, queue: OrderedQueue) -> None:
    """No later attempt would read it."""
    published = await queue.publish("k", "c", b"no reply", remember_s=60)
    lease = await queue.enter(published.entry, "c", "me")
    assert isinstance(lease, Lease)

    for step in (Sender(bus, Channel(), give_up_s=60).deliver, Sender(bus, Channel(), give_up_s=60).bury):
        assert (await step(lease)).dead_letter.startswith("the entry is no reply")


async def test_a_reply_whose_attempts_are_used_up_is_given_up(
    bus: Bus, queue: OrderedQueue, redis: Redis
) -> None:
    """Its last request counts as unclear like any other."""
    first = await entered(queue, reply("a"), "first")
    await (await RedisProgress.load(queue, first, "a:0")).begin(0)
    lease = await taken_over(queue, first, "second")

    commit = await Sender(bus, Channel(), give_up_s=60).bury(lease)
    await queue.commit(lease, "second", commit)

    assert commit.dead_letter == "given up: sending failed 1 times"
    assert [(event.state, event.unclear) for event in await events(redis)] == [("gave_up", 1)]


async def test_intake_tells_stored_repeated_and_refused_apart(bus: Bus) -> None:
    """Only FULL is an error: the peer must not be told success."""
    answers: list[Accepted | str] = []
    done = asyncio.Event()

    async def run(publish: Publish) -> None:
        for key in ("1", "1", "2", "3", "4"):
            try:
                answers.append(await publish(inbound(key)))
            except BusFull:
                answers.append("full")
        done.set()

    await run_until(bus, Channel(run=run), done)

    first = answers[0]
    assert isinstance(first, Accepted)
    assert answers[1] == Accepted(turn=first.turn, duplicate=True)
    assert answers[4] == "full"


async def test_an_intake_that_fails_starts_again(bus: Bus) -> None:
    """A connector's bug or a peer's outage does not end the channel."""
    starts = 0
    done = asyncio.Event()

    async def run(publish: Publish) -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise ValueError("broken")
        done.set()

    with capture_logs() as logs:
        await run_until(bus, Channel(run=run), done)

    assert starts == 2
    assert "connector_failed" in [entry["event"] for entry in logs]


def inbound(key: str) -> InboundMessage:
    """Make a message of a person."""
    return InboundMessage(external_key=key, conversation="c", address=ADDRESS, text=key)


async def run_until(bus: Bus, channel: Channel, done: asyncio.Event) -> None:
    """Run a connector until something has happened."""
    stop = asyncio.Event()
    sender = Sender(bus, channel, give_up_s=60)
    running = asyncio.create_task(run_connector(channel, bus, sender, stop, options=ConsumerOptions()))
    await asyncio.wait_for(done.wait(), 20)
    stop.set()
    await running
