"""Rate limits on a real Redis."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.bus.connection import connect
from hub.bus.keys import Keys
from hub.errors import BusError
from hub.limits import OWN_SHARE, Limit, OwnLimits, RateLimits
from tests.servers.redis import RedisServer, free_port


@pytest.fixture
async def any_redis(every_redis: RedisServer) -> Redis:
    """A client of each Redis version in turn, empty."""
    client = connect(every_redis.url)
    await client.flushall()
    return client


async def test_a_burst_gets_exactly_its_limit(any_redis: Redis) -> None:
    """Of 120 requests at once, from two processes' clients, 100 are let in."""
    limits = [RateLimits(any_redis), RateLimits(any_redis)]
    limit = Limit(requests=100, window_s=60)

    answers = await asyncio.gather(*(limits[n % 2].spend("key:a", limit) for n in range(120)))

    assert sum(answer.allowed for answer in answers) == 100
    refused = next(answer for answer in answers if not answer.allowed)
    assert refused.remaining == 0
    assert 1 <= refused.retry_after_s <= 60
    await any_redis.aclose()


async def test_no_window_holds_more_than_the_limit(redis: Redis, redis_server: RedisServer) -> None:
    """A thousand requests at once, again and again across the edges of two windows: wherever one looks, 100 in a second."""
    limits, limit = [RateLimits(redis), RateLimits(redis)], Limit(requests=100, window_s=1)
    watcher: Any = connect(redis_server.url)
    let_in: dict[bytes, float] = {}
    allowed = 0

    async def watch() -> None:
        while True:
            let_in.update(await watcher.zrange(Keys().limit("key:a"), 0, -1, withscores=True))

    watching = asyncio.create_task(watch())
    while allowed < 300:
        answers = await asyncio.gather(*(limits[n % 2].spend("key:a", limit) for n in range(1000)))
        allowed += sum(answer.allowed for answer in answers)
    # A window that nobody used is there to the full, so that nobody is refused who might have come.
    await asyncio.sleep(1.1)
    answers = await asyncio.gather(*(limits[n % 2].spend("key:a", limit) for n in range(1000)))
    assert sum(answer.allowed for answer in answers) >= 100
    allowed += sum(answer.allowed for answer in answers)
    let_in.update(await watcher.zrange(Keys().limit("key:a"), 0, -1, withscores=True))
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await watcher.aclose()

    times = sorted(let_in.values())
    assert len(times) == allowed
    assert all(later - earlier >= 1_000_000 for earlier, later in zip(times, times[100:], strict=False))


async def test_a_slow_burst_gets_no_more(redis: Redis) -> None:
    """Requests that come over several seconds do not refill the window: it is moved back, not waited for."""
    limits, limit = RateLimits(redis), Limit(requests=10, window_s=60)
    key = Keys().limit("key:a")

    allowed = 0
    for _ in range(15):
        allowed += (await limits.spend("key:a", limit)).allowed
        await _grow_older(redis, key, 3_000_000)

    assert allowed == 10


async def test_the_window_moves(redis: Redis) -> None:
    """Once the oldest request is a window ago, one more is let in, and only one."""
    limits, limit = RateLimits(redis), Limit(requests=3, window_s=60)
    key = Keys().limit("key:a")
    await limits.spend("key:a", limit)
    await _grow_older(redis, key, 30_000_000)
    await limits.spend("key:a", limit)
    await limits.spend("key:a", limit)

    full = await limits.spend("key:a", limit)
    await _grow_older(redis, key, 31_000_000)
    freed = [await limits.spend("key:a", limit) for _ in range(2)]

    assert not full.allowed
    assert 29 < full.reset_s <= 30
    assert [answer.allowed for answer in freed] == [True, False]


async def test_names_are_counted_apart(redis: Redis) -> None:
    """What one key spends, another keeps; odd names are no way into other keys of Redis."""
    limits, limit = RateLimits(redis), Limit(requests=1, window_s=60)

    answers = [await limits.spend(name, limit) for name in ("key:a", "key:b", "key:*", "key:\n{1}")]

    assert all(answer.allowed for answer in answers)


async def test_the_log_leaves_with_its_window(redis: Redis) -> None:
    """A name nobody uses any more leaves nothing behind."""
    await RateLimits(redis).spend("key:a", Limit(requests=5, window_s=60))

    assert 60_000 <= await redis.pttl(Keys().limit("key:a")) <= 61_000


async def test_an_absent_redis_is_said() -> None:
    """Without Redis nothing is let in silently."""
    client = connect(f"redis://127.0.0.1:{free_port()}/0")

    with pytest.raises(BusError):
        await RateLimits(client).spend("key:a", Limit(requests=5, window_s=60))

    await client.aclose()


async def _grow_older(redis: Redis, key: str, microseconds: int) -> None:
    rows: Any = await redis.zrange(key, 0, -1, withscores=True)
    for member, score in rows:
        await redis.zadd(key, {member: score - microseconds})


def test_a_process_alone_lets_in_its_share() -> None:
    """A tenth of the limit in any span of its length, each name by itself, and never nobody."""
    now = [0.0]
    limits, limit = OwnLimits(lambda: now[0]), Limit(requests=30, window_s=60)

    first = [limits.spend("operator:a", limit) for _ in range(4)]
    other = limits.spend("operator:b", Limit(requests=1, window_s=60))
    now[0] = 59.0
    late = limits.spend("operator:a", limit)
    now[0] = 60.0
    again = limits.spend("operator:a", limit)

    assert [answer.allowed for answer in first] == [True] * (30 // OWN_SHARE) + [False]
    assert [answer.remaining for answer in first] == [2, 1, 0, 0]
    assert (first[-1].retry_after_s, late.allowed, late.retry_after_s) == (60, False, 1)
    assert other.allowed
    assert again.allowed
