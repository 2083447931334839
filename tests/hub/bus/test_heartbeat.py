"""Heartbeats: a role is alive while any of its processes is."""

import asyncio
from typing import Any

from redis.asyncio import Redis

from hub.bus.heartbeat import beat, is_alive, told
from hub.bus.keys import Keys


async def test_a_role_is_alive_until_its_last_process_stops(redis: Redis) -> None:
    """One engine of two that stops takes nothing from the other."""
    stops = [asyncio.Event(), asyncio.Event()]
    beating = [asyncio.create_task(beat(redis, "engine", stop)) for stop in stops]
    untyped: Any = redis
    async with asyncio.timeout(30):
        while await untyped.zcard(Keys().alive("engine")) < 2:
            await asyncio.sleep(0.01)

    stops[0].set()
    await beating[0]
    assert await is_alive(redis, "engine")

    stops[1].set()
    await beating[1]
    assert not await is_alive(redis, "engine")


async def test_a_process_that_was_killed_is_not_alive_for_long(redis: Redis) -> None:
    """Its mark runs out by Redis' clock, whatever the clocks of other machines say."""
    untyped: Any = redis
    now_s = (await untyped.time())[0]
    await untyped.zadd(Keys().alive("engine"), {"killed": now_s})

    assert not await is_alive(redis, "engine")


async def test_what_a_process_tells_is_known_while_it_lives(redis: Redis) -> None:
    """It goes with its mark, whether it stops or is killed; one with nothing to tell is passed over."""
    untyped: Any = redis
    now_s = (await untyped.time())[0]
    await untyped.zadd(Keys().alive("engine"), {"killed": now_s - 1})
    await untyped.hset(Keys().told("engine"), "killed", "old")
    stop = asyncio.Event()
    beating = [
        asyncio.create_task(beat(redis, "engine", stop, tell)) for tell in (lambda: "news", lambda: None)
    ]
    async with asyncio.timeout(30):
        while await untyped.zcard(Keys().alive("engine")) < 2 or not await told(redis, "engine"):
            await asyncio.sleep(0.01)

    assert await told(redis, "engine") == [b"news"]
    stop.set()
    await asyncio.gather(*beating)
    assert await untyped.hlen(Keys().told("engine")) == 0
