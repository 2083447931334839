"""Which roles are alive: each process renews its mark, and a mark that is not renewed is gone."""

import asyncio
import contextlib
from typing import Any

import structlog
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys
from hub.errors import BusError

log = structlog.get_logger(__name__)

BEAT_S = 3.0
MISSED_BEATS = 5


async def beat(redis: Redis, role: str, stop: asyncio.Event) -> None:
    """Mark a role as alive until `stop` is set."""
    client: Any = redis
    while not stop.is_set():
        try:
            with bus_errors("the heartbeat could not be written"):
                await client.set(Keys().alive(role), b"1", px=int(BEAT_S * MISSED_BEATS * 1000))
        except BusError as error:
            log.warning("heartbeat_missed", role=role, error=str(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), BEAT_S)
    # Taken back, so that a restart is not believed to be up before it is.
    with contextlib.suppress(BusError), bus_errors("the heartbeat could not be ended"):
        await client.delete(Keys().alive(role))


async def is_alive(redis: Redis, role: str) -> bool:
    """Tell whether some process of a role is alive.

    Raises: BusError: Redis is away.
    """
    client: Any = redis
    with bus_errors("the heartbeat could not be read"):
        return bool(await client.exists(Keys().alive(role)))
