"""Kept answers and their counts, on a real Redis."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from hub.bus.cache import LIMITS, AnswerCache, CacheCounts, CacheLimits, cache_counts
from hub.bus.connection import connect
from hub.bus.keys import Keys
from hub.settings import PROJECT_ROOT
from tests.servers.redis import RedisServer

LOOK_UP = """
import asyncio, sys
from hub.bus.cache import AnswerCache
from hub.bus.connection import connect

async def main():
    cache = AnswerCache(connect(sys.argv[1]), ttl_s=60, kind="search")
    for turn in range(100_000):
        if await cache.find(str(turn % 50)) is None:
            await cache.keep(str(turn % 50), b"passages")
        if turn == 20:
            print("looking", flush=True)

asyncio.run(main())
"""
"""Looks up until it is killed."""


async def test_an_answer_is_found_until_its_time_is_over(redis: Redis) -> None:
    """What is kept goes by itself."""
    cache = AnswerCache(redis, ttl_s=600)

    before = await cache.find("a")
    await cache.keep("a", b"answer")

    client: Any = redis
    assert (before, await cache.find("a"), await cache.find("b")) == (None, b"answer", None)
    assert 590_000 < await client.pttl(Keys().cached("answer", "a")) <= 600_000
    assert 590_000 < await client.pttl(Keys().cache_index("answer")) <= 600_000


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
    assert counts == CacheCounts(lookups=2000, hits=hits, misses=2000 - hits)
    assert counts.misses >= 30
    await asyncio.gather(*(client.aclose() for client in clients))


async def test_too_many_answers_make_room(redis: Redis) -> None:
    """Those that would go next go first, and none is left behind that nobody counts."""
    cache = AnswerCache(redis, ttl_s=60, limits=CacheLimits(answers=3))
    short = AnswerCache(redis, ttl_s=30, limits=CacheLimits(answers=3))

    await short.keep("soon", b"answer")
    for name in ("a", "b", "c"):
        await cache.keep(name, b"answer")

    client: Any = redis
    left = sorted(key.decode().rpartition(":")[2] for key in await client.keys("*cache:answer*"))
    assert left == ["a", "b", "c"]
    assert await client.zcard(Keys().cache_index("answer")) == 3


async def test_a_very_long_answer_is_not_kept(redis: Redis) -> None:
    """The memory of the cache has a limit."""
    cache = AnswerCache(redis, ttl_s=60)

    await cache.keep("a", b"x" * (LIMITS["answer"].answer_bytes + 1))

    assert await cache.find("a") is None


async def test_a_cache_nobody_asked_counts_nothing(redis: Redis) -> None:
    """Zero, not an error."""
    assert await cache_counts(redis) == CacheCounts()


async def test_kinds_are_kept_and_counted_apart(redis: Redis) -> None:
    """What was searched is no answer, and each has its own account."""
    answers, searches = AnswerCache(redis, ttl_s=60), AnswerCache(redis, ttl_s=60, kind="search")

    await searches.keep("a", b"passages")

    assert (await answers.find("a"), await searches.find("a")) == (None, b"passages")
    assert await cache_counts(redis) == CacheCounts(lookups=1, misses=1)
    assert await cache_counts(redis, "search") == CacheCounts(lookups=1, hits=1)


async def test_account_is_right_after_clients_are_killed(redis_server: RedisServer, redis: Redis) -> None:
    """Processes that are killed in the middle of their look-ups leave every look-up as one hit or one miss."""
    command = (sys.executable, "-c", LOOK_UP, redis_server.url)
    started = [
        await asyncio.create_subprocess_exec(*command, cwd=PROJECT_ROOT, stdout=asyncio.subprocess.PIPE)
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout
        await process.stdout.readline()
        process.kill()
        await process.communicate()

    counts = await cache_counts(redis, "search")

    assert counts.lookups >= 3 * 21
    assert counts.hits > 0
    assert counts.is_consistent


async def test_account_is_right_after_redis_is_killed(tmp_path: Path) -> None:
    """A Redis that is killed under load comes back with every look-up as one hit or one miss."""
    with RedisServer(tmp_path) as server:
        clients = [connect(server.url) for _ in range(20)]

        async def work(number: int) -> None:
            cache = AnswerCache(clients[number], ttl_s=60, kind="search")
            for turn in range(10_000):
                if await cache.find(str(turn % 7)) is None:
                    await cache.keep(str(turn % 7), b"passages")
                if turn == 50:
                    looked.set()

        looked = asyncio.Event()
        working = [asyncio.create_task(work(number)) for number in range(20)]
        await looked.wait()
        server.kill()
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        server.start()

        redis = connect(server.url)
        counts = await cache_counts(redis, "search")
        await asyncio.gather(redis.aclose(), *(client.aclose() for client in clients))

    assert counts.lookups >= 51
    assert counts.is_consistent
