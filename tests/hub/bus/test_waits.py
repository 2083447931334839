"""What publishing tells of the time until a message is taken up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from hub.bus.bus import RETRY_AFTER_S, Bus
from hub.bus.connection import connect_reader
from hub.bus.heartbeat import beat, told
from hub.live import Live
from hub.messages import Address, InboundMessage
from hub.pace import Pace
from hub.settings import BusSettings
from tests.servers.redis import RedisServer

PACE = Pace(turns_per_s=0.5, turn_s=4, running=1, slots=2)


@pytest.fixture
async def bus(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Bus]:
    """An empty bus that takes eight messages."""
    bus = Bus(redis_server.url, BusSettings(max_backlog=8))
    yield bus
    await bus.close()


@contextlib.asynccontextmanager
async def engine_with(redis: Redis, pace: Pace) -> AsyncIterator[None]:
    """Let an engine be alive that works at this pace."""
    stop = asyncio.Event()
    beating = asyncio.create_task(beat(redis, "engine", stop, pace.model_dump_json))
    async with asyncio.timeout(30):
        while not await told(redis, "engine"):
            await asyncio.sleep(0.01)
    yield
    stop.set()
    await beating


def message(conversation: str, text: str = "hello") -> InboundMessage:
    """Make a message."""
    address = Address(connector="test", account="a", chat=conversation, person="p")
    key = f"{conversation}/{text}"
    return InboundMessage(external_key=key, conversation=conversation, address=address, text=text)


async def test_a_wait_worth_telling_is_told_to_all_who_look(
    bus: Bus, redis: Redis, redis_server: RedisServer
) -> None:
    """The first messages find a slot; the others wait 2 s for each one that comes first, told from 3 s on."""
    stop, live = asyncio.Event(), Live(bus.redis, connect_reader(redis_server.url))
    listening = asyncio.create_task(live.run(stop))
    await live.ready.wait()
    async with engine_with(redis, PACE), live.listen("c5") as events, asyncio.timeout(30):
        published = [await bus.publish(message(f"c{number}")) for number in range(6)]
        event = await anext(events)

    assert [each.wait_s for each in published] == [0, 0, 0, 4, 6, 8]
    assert (event.kind, event.turn, event.wait_s) == ("waiting", published[5].entry, 8)
    assert await live.partial(published[5].entry) == ""
    stop.set()
    await listening


async def test_all_of_a_burst_are_told(bus: Bus, redis: Redis) -> None:
    """Not only those who come after the engines' pace was looked up for the first one."""
    async with engine_with(redis, PACE):
        published = await asyncio.gather(*(bus.publish(message(f"c{number}")) for number in range(6)))

    assert sorted(each.wait_s for each in published) == [0, 0, 0, 4, 6, 8]


async def test_messages_of_one_conversation_wait_for_each_other(bus: Bus, redis: Redis) -> None:
    """However many slots are free; a stop waits for nothing."""
    async with engine_with(redis, PACE):
        await bus.publish(message("c", "1"))

        assert (await bus.publish(message("c", "2"))).wait_s == 4
        assert (await bus.publish(message("c", "/stop"))).wait_s == 0


async def test_without_an_engine_nothing_is_promised(bus: Bus) -> None:
    """Nobody knows when one will come."""
    published = [await bus.publish(message(f"c{number}")) for number in range(6)]

    assert {each.wait_s for each in published} == {0}


async def test_who_is_refused_is_told_when_to_come_again(bus: Bus, redis: Redis) -> None:
    """By the pace of the engines, where there is one."""
    for number in range(8):
        await bus.publish(message(f"c{number}"))

    assert (await bus.publish(message("more"))).retry_after_s == RETRY_AFTER_S
    async with engine_with(redis, PACE):
        other = Bus(bus.url, bus.settings)
        refused = await other.publish(message("more"))
        await other.close()

    assert refused.status == "FULL"
    assert refused.retry_after_s == pytest.approx(8 * 0.1 / 0.5)
