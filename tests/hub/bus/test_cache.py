"""Kept answers and their counts, on a real Redis."""

import asyncio
from typing import Any

from redis.asyncio import Redis

from hub.bus.cache import MAX_ANSWER_BYTES, AnswerCache, CacheCounts, cache_counts
from hub.bus.connection import connect
from hub.bus.keys import Keys
from tests.servers.redis import RedisServer


async def test_an_answer_is_found_until_its_time_is_over(redis: Redis) -> None:
    """What is kept goes by itself."""
    cache = AnswerCache(redis, ttl_s=600)

    before = await cache.find("a")
    await cache.keep("a", b"answer")

    client: Any = redis
    assert (before, await cache.find("a"), await cache.find("b")) == (None, b"answer", None)
    assert 590_000 < await client.pttl(Keys().cached("a")) <= 600_000
    assert 590_000 < await client.pttl(Keys().cache_index) <= 600_000


async def test_hits_and_misses_are_all_look_ups(redis_server: RedisServer, redis: Redis) -> None:
    """A hundred clients at once, each over a connection of its own: not one look-up is lost or counted twice."""
    clients = [connect(redis_server.url) for _ in range(100)]

    async def work(number: int) -> int:
        cache, seen = AnswerCache(clients[number], ttl_s=60), 0
        for turn in range(20):
            digest = str((number + turn) % 30)
            if await cache.find(digest) is None:
                await cache.keep(digest, b"answer")
            else:
                seen += 1
        return seen

    hits = sum(await asyncio.gather(*(work(number) for number in range(100))))

    counts = await cache_counts(redis)
    assert counts == CacheCounts(hits=hits, misses=2000 - hits)
    assert counts.misses >= 30
    await asyncio.gather(*(client.aclose() for client in clients))


async def test_too_many_answers_make_room(redis: Redis) -> None:
    """Those that would go next go first, and none is left behind that nobody counts."""
    cache = AnswerCache(redis, ttl_s=60, max_answers=3)
    short = AnswerCache(redis, ttl_s=30, max_answers=3)

    await short.keep("soon", b"answer")
    for name in ("a", "b", "c"):
        await cache.keep(name, b"answer")

    client: Any = redis
    left = sorted(key.decode().rpartition(":")[2] for key in await client.keys("*cache:answer*"))
    assert left == ["a", "b", "c"]
    assert await client.zcard(Keys().cache_index) == 3


async def test_a_very_long_answer_is_not_kept(redis: Redis) -> None:
    """The memory of the cache has a limit."""
    cache = AnswerCache(redis, ttl_s=60)

    await cache.keep("a", b"x" * (MAX_ANSWER_BYTES + 1))

    assert await cache.find("a") is None


async def test_a_cache_nobody_asked_counts_nothing(redis: Redis) -> None:
    """Zero, not an error."""
    assert await cache_counts(redis) == CacheCounts()
