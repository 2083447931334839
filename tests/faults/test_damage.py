"""Operators and other programs that write into the streams, or remove what is in them, by hand."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from hub.bus.bus import Bus
from hub.bus.keys import Keys
from hub.bus.reader import StreamReader
from tests.faults.engine import publish, running_engine, until_leased
from tests.faults.fleet import NOTHING, opened_bus, replies, unfinished, until_committed
from tests.faults.processes import Plan, answer_to
from tests.servers.redis import RedisServer

INBOUND = Keys().stream("inbound")
OUTBOUND = Keys().stream("outbound:test")
Damage = Callable[[Any], Awaitable[Any]]


async def until_dead(bus: Bus, count: int) -> dict[str, str]:
    """Wait for dead letters; returns their reasons by entry."""
    async with asyncio.timeout(90):
        while await bus.dead_letters.count() < count:
            await asyncio.sleep(0.02)
    return {letter.entry: letter.reason for letter in await bus.dead_letters.list()}


async def calls(redis: Redis, command: str) -> int:
    """Count how often a command was run."""
    stats: Any = await redis.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))


async def test_junk_becomes_dead_letters_and_stops_nothing(redis_server: RedisServer, redis: Redis) -> None:
    """Entries that no `publish` wrote are moved aside, whatever they hold."""
    client: Any = redis
    async with running_engine(Plan(url=redis_server.url)) as bus:
        junk = [
            await client.xadd(INBOUND, {b"\xff": b"\xfe\x00"}),
            await client.xadd(INBOUND, {"lane": b"\xff\xfe", "body": b"{}"}),
            await client.xadd(INBOUND, {"lane": "c", "body": "by hand"}),
        ]
        unreadable = await bus.queue("inbound", 0).publish("k", "c", b"no message", remember_s=60)

        await publish(bus, "c", 1)
        reasons = await until_dead(bus, 4)
        await until_committed(redis, OUTBOUND, 1)

        assert [reasons[entry.decode()] for entry in junk] == [
            "the entry names no lane",
            "the entry names no lane",
            "the entry stands in no lane",
        ]
        assert reasons[unreadable.entry].startswith("the entry is no message")
    assert await unfinished(redis) == {**NOTHING, "dead": 4}


async def remove_stream(client: Any) -> None:
    """Delete the stream under its readers."""
    await client.delete(INBOUND)


async def remove_everything(client: Any) -> None:
    """Delete all keys."""
    await client.flushall()


async def remove_group(client: Any) -> None:
    """Delete the consumer group."""
    await client.xgroup_destroy(INBOUND, "engine")


@pytest.mark.parametrize("damage", [remove_stream, remove_everything, remove_group])
async def test_readers_outlive_the_removal_of_their_stream(
    redis_server: RedisServer, redis: Redis, damage: Damage
) -> None:
    """The group is made anew, an alarm is raised, and nothing spins meanwhile."""
    with capture_logs() as logs:
        async with running_engine(Plan(url=redis_server.url)) as bus:
            await publish(bus, "before", 1)
            await until_committed(redis, OUTBOUND, 1)
            reads, count = await calls(redis, "xreadgroup"), await redis.xlen(OUTBOUND)

            await damage(redis)
            async with asyncio.timeout(90):
                while not any(entry["event"] == "stream_removed" for entry in logs):
                    await asyncio.sleep(0.01)
            after = 1 if damage is remove_everything else count + 1
            await publish(bus, "after", 2)
            await until_committed(redis, OUTBOUND, after)
            # Two readings of a stream that is gone, one or two of the new one.
            assert await calls(redis, "xreadgroup") - reads <= 8

        texts = [reply.text for sent in (await replies(redis)).values() for reply in sent]
    assert texts[-1] == answer_to("2")
    assert len(texts) == after
    # Fewer than five lines a second, of which only the fault itself is told.
    assert len([entry for entry in logs if entry["log_level"] in ("warning", "error")]) <= 5


async def test_committed_messages_are_not_answered_again_by_a_new_group(
    redis_server: RedisServer, redis: Redis
) -> None:
    """A group that starts at the beginning meets only work that is not done."""
    async with running_engine(Plan(url=redis_server.url, concurrency=1)) as bus:
        await publish(bus, "c", "slow 0.5", *range(5))
        await until_leased(redis, "c")

        await remove_group(redis)
        await until_committed(redis, OUTBOUND, 6)

    sent = (await replies(redis))["c"]
    assert [reply.text for reply in sent] == [answer_to(str(word)) for word in ("slow 0.5", *range(5))]
    assert await unfinished(redis) == NOTHING


@pytest.mark.parametrize("is_read", [True, False])
async def test_trimmed_messages_are_dead_letters_and_no_empty_turns(
    redis_server: RedisServer, redis: Redis, is_read: bool
) -> None:
    """An operator trims the stream; nothing later arrives that would tell of it."""
    client: Any = redis
    async with opened_bus(Plan(url=redis_server.url)) as bus:
        gone = await publish(bus, "c", 1, 2) + await publish(bus, "d", 3)
        if is_read:
            await StreamReader(bus.queue("inbound", 0), redis, "ghost").ensure_group()
            await client.xreadgroup("engine", "ghost", {INBOUND: ">"}, count=10)
        await client.xtrim(INBOUND, maxlen=0, approximate=False)

        async with running_engine(Plan(url=redis_server.url, lease_s=0.5)) as engine:
            reasons = await until_dead(engine, 3)
            await publish(engine, "c", 4)
            await until_committed(redis, OUTBOUND, 1)

        assert reasons == dict.fromkeys(gone, "the message is no longer on the stream")
        assert [reply.text for reply in (await replies(redis))["c"]] == [answer_to("4")]
        assert await unfinished(redis) == {**NOTHING, "dead": 3}


async def test_work_of_a_consumer_removed_by_hand_is_found(redis_server: RedisServer, redis: Redis) -> None:
    """XGROUP DELCONSUMER drops its pending entries; the lanes still know them."""
    client: Any = redis
    plan = Plan(url=redis_server.url, lease_s=0.5)
    async with opened_bus(plan) as bus:
        await publish(bus, "c", 1, 2)
        await StreamReader(bus.queue("inbound", 0), redis, "ghost").ensure_group()
        await client.xreadgroup("engine", "ghost", {INBOUND: ">"}, count=10)
        assert await client.xgroup_delconsumer(INBOUND, "engine", "ghost") == 2

        async with running_engine(plan):
            await until_committed(redis, OUTBOUND, 2)

        assert [reply.text for reply in (await replies(redis))["c"]] == [answer_to("1"), answer_to("2")]
        assert await unfinished(redis) == NOTHING


async def test_a_consumer_removed_under_its_reader_goes_on(redis_server: RedisServer, redis: Redis) -> None:
    """Its next read makes its name anew."""
    client: Any = redis
    async with running_engine(Plan(url=redis_server.url, lease_s=0.5)) as bus:
        await publish(bus, "c", "slow 0.3")
        owner = await until_leased(redis, "c")

        await client.xgroup_delconsumer(INBOUND, "engine", owner)
        await publish(bus, "c", 1)
        await publish(bus, "d", 2)
        await until_committed(redis, OUTBOUND, 3)

    assert await unfinished(redis) == NOTHING


async def test_a_damaged_key_keeps_the_message_until_it_is_repaired(
    redis_server: RedisServer, redis: Redis
) -> None:
    """A commit that cannot be written changes nothing and is tried again, without blame."""
    with capture_logs() as logs:
        async with running_engine(Plan(url=redis_server.url, max_attempts=1)) as bus:
            await redis.set(OUTBOUND, "damaged")
            await publish(bus, "c", 1)
            async with asyncio.timeout(90):
                while not any(entry["event"] == "lane_interrupted" for entry in logs):
                    await asyncio.sleep(0.02)

            await redis.delete(OUTBOUND)
            await until_committed(redis, OUTBOUND, 1)

    assert [reply.kind for reply in (await replies(redis))["c"]] == ["answer"]
    assert await unfinished(redis) == NOTHING
