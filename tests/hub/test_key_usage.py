"""What is asked with each key, counted once, whoever counts and whenever they are killed."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.bus.connection import connect_reader
from hub.bus.keys import Keys
from hub.database import async_engine
from hub.events import DeliveryEvent, TurnEvent
from hub.key_usage import KeyUsage, UsageBook, UsageCounter
from tests.servers.redis import RedisServer

ROOT = Path(__file__).resolve().parents[2]
KEY, OTHER = "0123456789ab", "ba9876543210"
EVER = date(2000, 1, 1), date(2100, 1, 1)


@pytest.fixture
async def engine(every_database: str) -> AsyncIterator[AsyncEngine]:
    """A new database, of each kind in turn."""
    opened = async_engine(every_database)
    yield opened
    await opened.dispose()


def turn(
    key: str = KEY, model: str = "m", *, connector: str = "api", prompt: int = 7, answer: int = 3
) -> Any:
    """Make the event of one answered message."""
    event = TurnEvent(
        connector=connector,
        account=key,
        route="echo",
        queue_ms=1,
        turn_ms=1,
        prompt_tokens=prompt,
        answer_tokens=answer,
        model=model,
    )
    return event.fields()


async def add(redis: Redis, fields: Any, *, entry: str = "*", shard: int = 0) -> None:
    """Put an event on the stream."""
    client: Any = redis
    await client.xadd(Keys(shard).events, fields, id=entry)


async def count(server: RedisServer, engine: AsyncEngine, *, shards: int = 1) -> None:
    """Count all that is there."""
    reader = connect_reader(server.url)
    await UsageCounter(reader, engine, shards=shards).catch_up()
    await reader.aclose()


async def test_days_and_models_are_told_apart(
    redis: Redis, redis_server: RedisServer, engine: AsyncEngine
) -> None:
    """By the day of Redis' clock, of all shards; other channels, other kinds of events and odd accounts do not count."""
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    ms = int(noon.timestamp() * 1000)
    await add(redis, turn(), entry=f"{ms}-0")
    await add(redis, turn(prompt=10, answer=1), entry=f"{ms}-1")
    await add(redis, turn(model=""), entry=f"{ms}-2")
    await add(redis, turn(OTHER), entry=f"{ms}-3")
    for stray in (turn(connector="web"), turn("terminal"), {"kind": "turn"}, {"kind": "new"}):
        await add(redis, stray, entry=f"{ms}-*")
    delivery = DeliveryEvent(connector="api", state="placed", wait_ms=1).fields()
    await add(redis, delivery, entry=f"{ms + 1}-0")
    await add(redis, turn(), entry=f"{ms + 86_400_000}-0", shard=1)

    await count(redis_server, engine, shards=2)

    book, day, next_day = UsageBook(engine), noon.date(), noon.date() + timedelta(days=1)
    assert await book.of(KEY, *EVER) == [
        KeyUsage(day=day, model="", requests=1, prompt_tokens=7, answer_tokens=3),
        KeyUsage(day=day, model="m", requests=2, prompt_tokens=17, answer_tokens=4),
        KeyUsage(day=next_day, model="m", requests=1, prompt_tokens=7, answer_tokens=3),
    ]
    assert [one.day for one in await book.of(KEY, next_day, next_day)] == [next_day]
    assert [one.requests for one in await book.of(OTHER, *EVER)] == [1]
    assert await book.of("nobody", *EVER) == []


async def test_several_counters_count_each_event_once(
    redis: Redis, redis_server: RedisServer, engine: AsyncEngine
) -> None:
    """While events come in, and also when one begins later."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(UsageCounter(connect_reader(redis_server.url), engine).run(stop))
        for number in range(120):
            await add(redis, turn(model=f"m{number % 3}", prompt=number, answer=1))
        async with asyncio.timeout(10):
            while sum(one.requests for one in await UsageBook(engine).of(KEY, *EVER)) < 120:
                await asyncio.sleep(0.01)
        stop.set()
    await count(redis_server, engine)

    found = await UsageBook(engine).of(KEY, *EVER)
    assert sum(one.requests for one in found) == sum(one.answer_tokens for one in found) == 120
    assert sum(one.prompt_tokens for one in found) == sum(range(120))


COUNTING = """
import asyncio, sys
from hub.bus.connection import connect_reader
from hub.database import async_engine
from hub.key_usage import UsageCounter

asyncio.run(UsageCounter(connect_reader(sys.argv[1]), async_engine(sys.argv[2])).run(asyncio.Event()))
"""


async def test_a_kill_repeats_and_loses_nothing(
    redis: Redis,
    redis_server: RedisServer,
    engine: AsyncEngine,
    every_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A counter is killed at random while events come; the next one goes on where it stopped."""
    seed = random.SystemRandom().randrange(1 << 30)
    dice, added, book = random.Random(seed), 0, UsageBook(engine)

    async def counted() -> int:
        return sum(one.requests for one in await book.of(KEY, *EVER))

    for _ in range(2):
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", COUNTING, redis_server.url, every_database), cwd=ROOT
        )
        target = added + dice.randrange(5, 60)
        async with asyncio.timeout(30):
            while await counted() < target:
                await add(redis, turn(model=f"m{added % 5}"))
                added += 1
        child.send_signal(signal.SIGKILL)
        await child.wait()

    await count(redis_server, engine)

    assert await counted() == added, seed
    assert sum(one.prompt_tokens for one in await book.of(KEY, *EVER)) == 7 * added, seed
