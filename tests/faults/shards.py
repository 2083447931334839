"""Workers, senders' streams and checks for a Redis of several servers, where conversations lie in many shards."""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import Any

from redis.asyncio import Redis

from hub.bus.bus import Bus
from hub.bus.keys import Keys
from hub.bus.nodes import scan_pages
from hub.messages import OutboundMessage
from tests.faults.fleet import message, opened_bus, publish_all
from tests.faults.processes import Plan, answer_to, make_consumers


@contextlib.asynccontextmanager
async def working(plan: Plan, *, workers: int) -> AsyncIterator[None]:
    """Run some engines' workers in this process, each over connections of its own."""
    stop = asyncio.Event()
    buses = [plan.bus() for _ in range(workers)]
    running = [
        asyncio.create_task(consumer.run(stop)) for bus in buses for consumer in make_consumers(plan, bus)
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*running)
        for bus in buses:
            await bus.close()


async def answered(redis: Redis, shards: int) -> Mapping[str, list[str]]:
    """Return every committed reply by conversation, in the order of their commits."""
    client: Any = redis
    by_conversation: defaultdict[str, list[str]] = defaultdict(list)
    for shard in range(shards):
        for _, fields in await client.xrange(Keys(shard).stream("outbound:test")):
            reply = OutboundMessage.model_validate_json(fields[b"body"])
            by_conversation[reply.conversation].append(reply.text)
    return by_conversation


async def count_answers(redis: Redis, shards: int) -> int:
    """Count the committed replies."""
    client: Any = redis
    return sum([await client.xlen(Keys(shard).stream("outbound:test")) for shard in range(shards)])


async def left(redis: Redis, shards: int) -> int:
    """Count what is unfinished: entries, pending marks, lanes and dead letters."""
    client: Any = redis
    found = 0
    for shard in range(shards):
        keys = Keys(shard)
        found += await client.xlen(keys.stream("inbound")) + await client.xlen(keys.dead)
        found += (await client.xpending(keys.stream("inbound"), "engine"))["pending"]
        async for page in scan_pages(redis, f"{keys.lane('inbound', '')}*", count=500):
            found += len(page)
    return found


async def load(bus: Bus, dice: random.Random, *, conversations: int, messages: int, over_s: float) -> None:
    """Publish; whatever is not accepted is published again, and this returns once all was."""
    await asyncio.gather(
        *(
            publish_all(bus, [message(f"c{name}", number) for number in range(messages)], dice, over_s=over_s)
            for name in range(conversations)
        )
    )


async def all_answered_once_in_order(plan: Plan, *, conversations: int, messages: int) -> None:
    """Wait until all was answered, and check how."""
    async with opened_bus(plan) as bus:
        async with asyncio.timeout(60):
            while await count_answers(bus.redis, plan.shards) < conversations * messages or await left(
                bus.redis, plan.shards
            ):
                await asyncio.sleep(0.1)
        found = await answered(bus.redis, plan.shards)
    expected = [answer_to(str(number)) for number in range(messages)]
    assert sorted(found) == sorted(f"c{name}" for name in range(conversations))
    for conversation, texts in found.items():
        assert texts == expected, conversation
