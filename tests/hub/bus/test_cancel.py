"""Orders to cancel: what they mark, what a commit makes of them, and who is told."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from hub.bus.bus import Bus
from hub.bus.connection import connect_reader
from hub.bus.control import Control, Order
from hub.bus.effects import set_effect
from hub.bus.keys import Keys
from hub.bus.queue import Commit, Lease
from hub.errors import TurnCancelled
from hub.messages import Address, Generation, InboundMessage
from hub.settings import BusSettings
from tests.servers.redis import RedisServer

ADDRESS = Address(connector="test", account="a", chat="c", person="p")


@pytest.fixture
async def bus(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Bus]:
    """An empty bus whose lanes hold three messages."""
    bus = Bus(redis_server.url, BusSettings(max_lane=3))
    yield bus
    await bus.close()


async def publish(bus: Bus, text: str, key: str = "") -> str:
    """Publish a message of the one conversation; returns its entry."""
    message = InboundMessage(external_key=key or text, conversation="c", address=ADDRESS, text=text)
    return (await bus.publish(message)).entry


async def entered(bus: Bus, entry: str) -> Lease:
    """Take the lease of the conversation."""
    lease = await bus.queue("inbound", 0).enter(entry, "c", "me")
    assert isinstance(lease, Lease)
    return lease


async def test_an_answer_yields_to_a_cancel_that_came_before_its_commit(bus: Bus) -> None:
    """Whoever stopped it never sees it; what ends the turn as cancelled goes through."""
    queue, lease = bus.queue("inbound", 0), await entered(bus, await publish(bus, "hello"))
    answer = Commit((set_effect("said", {"text": "hello"}),), unless_cancelled=True)

    assert await bus.cancel("c", lease.head) == [lease.head]
    with pytest.raises(TurnCancelled):
        await queue.commit(lease, "me", answer)

    assert not await bus.redis.exists("said")
    assert await bus.was_cancelled("c", lease.head), "it is certain to end so"
    assert await queue.commit(lease, "me", Commit()) is None
    assert not await bus.redis.exists(Keys().cancelled("inbound", "c"))


async def test_a_cancel_after_the_commit_does_nothing(bus: Bus) -> None:
    """Answered is answered; and the next message of the conversation is not touched."""
    lease = await entered(bus, await publish(bus, "hello"))
    await bus.queue("inbound", 0).commit(lease, "me", Commit(unless_cancelled=True))

    assert await bus.cancel("c", lease.head) == []
    assert await bus.cancel("c") == []
    following = await publish(bus, "again")

    assert not await bus.is_cancelled("c", following)


async def test_a_typed_stop_cancels_what_stands_before_it_and_nothing_else(bus: Bus) -> None:
    """In one step with its own intake; also where the channel hands it in twice."""
    first, second = await publish(bus, "1"), await publish(bus, "2")
    stop = await publish(bus, "/Stop@my_bot please", key="s")
    after = await publish(bus, "/stop", key="s2")
    assert await publish(bus, "/stop", key="s") == stop

    cancelled = {entry for entry in (first, second, stop, after) if await bus.is_cancelled("c", entry)}

    assert cancelled == {first, second, stop}, "the second stop takes the place of the first"
    assert [await bus.cancelled_by("c", entry) for entry in (first, stop, after)] == [0, 2, 3]


async def test_a_stop_fits_into_a_conversation_that_is_full(bus: Bus) -> None:
    """It is the way out of there; other messages are refused as ever."""
    for number in range(3):
        await publish(bus, str(number))

    assert await publish(bus, "one more") == ""
    stop = await publish(bus, "/stop")

    assert await bus.cancelled_by("c", stop) == 3


async def test_a_stop_with_nothing_before_it_cancels_nothing(bus: Bus) -> None:
    """And leaves no trace."""
    stop = await publish(bus, "/stop")

    assert await bus.cancelled_by("c", stop) == 0
    assert not await bus.redis.exists(Keys().cancelled("inbound", "c"))


async def test_the_word_stop_in_a_prompt_for_the_model_itself_is_just_text(bus: Bus) -> None:
    """Commands belong to the assistant."""
    first = await publish(bus, "1")
    raw = InboundMessage(
        external_key="r", conversation="c", address=ADDRESS, text="/stop", generation=Generation(model="m")
    )
    await bus.publish(raw)

    assert not await bus.is_cancelled("c", first)


async def test_engines_hear_of_a_cancel_at_once(bus: Bus, redis_server: RedisServer) -> None:
    """By the stream of orders; not of one that stopped nothing."""
    heard: asyncio.Queue[Order] = asyncio.Queue()
    stop, control = asyncio.Event(), Control(bus.redis, connect_reader(redis_server.url))
    control.listen(heard.put_nowait)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(control.run(stop))
        await control.ready.wait()
        await bus.cancel("c")
        entry = await publish(bus, "hello")
        await bus.cancel("c", entry)
        await publish(bus, "/stop")

        orders = [await heard.get() for _ in range(2)]
        stop.set()

    assert orders == [
        Order(action="cancel", conversation="c", turn=entry),
        Order(action="cancel", conversation="c"),
    ]
