"""Which roles are alive: each process renews its mark in a sorted set, and a mark that is not renewed runs out."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Any

import structlog
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys
from hub.errors import BusError
from hub.waiting import happens

log = structlog.get_logger(__name__)

BEAT_S = 3.0
MISSED_BEATS = 5


async def beat(
    redis: Redis, role: str, stop: asyncio.Event, tell: Callable[[], str | None] = lambda: None
) -> None:
    """Mark this process as one of a role until `stop` is set.

    Args:
        tell: gives what others may know of this process, for `told`; None: nothing yet.
    """
    client: Any = redis
    key, told, mark = Keys().alive(role), Keys().told(role), secrets.token_hex(8)
    while not stop.is_set():
        try:
            with bus_errors("the heartbeat could not be written"):
                now_s = (await client.time())[0]
                pipe = client.pipeline(transaction=False)
                pipe.zadd(key, {mark: now_s + BEAT_S * MISSED_BEATS})
                if over := await client.zrangebyscore(key, "-inf", now_s):
                    pipe.zrem(key, *over)
                    pipe.hdel(told, *over)
                if (news := tell()) is not None:
                    pipe.hset(told, mark, news)
                await pipe.execute()
        except BusError as error:
            log.warning("heartbeat_missed", role=role, error=str(error))
        await happens(stop, within_s=BEAT_S)
    # Taken back, so that a restart is not believed to be up before it is.
    with contextlib.suppress(BusError), bus_errors("the heartbeat could not be ended"):
        await client.zrem(key, mark)
        await client.hdel(told, mark)


async def is_alive(redis: Redis, role: str) -> bool:
    """Tell whether some process of a role is alive.

    Raises: BusError: Redis is away.
    """
    client: Any = redis
    with bus_errors("the heartbeat could not be read"):
        now_s = (await client.time())[0]
        return bool(await client.zcount(Keys().alive(role), f"({now_s}", "+inf"))


async def told(redis: Redis, role: str) -> list[bytes]:
    """Return what the living processes of a role tell of themselves.

    Raises: BusError: Redis is away.
    """
    client: Any = redis
    with bus_errors("what processes tell could not be read"):
        now_s = (await client.time())[0]
        marks = await client.zrangebyscore(Keys().alive(role), f"({now_s}", "+inf")
        news = await client.hmget(Keys().told(role), marks) if marks else []
    return [each for each in news if each is not None]
