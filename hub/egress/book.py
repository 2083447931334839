"""The ledgers of all processes, gathered in Redis: what the operator reads."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys
from hub.egress.guard import EgressGuard
from hub.egress.ledger import Place, Visits
from hub.errors import BusError
from hub.waiting import happens

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 5.0
MOST_ENTRIES = 5_000
"""The places that were visited longest ago go first."""


class EgressEntry(BaseModel):
    """Where processes of a name have connected to."""

    model_config = ConfigDict(frozen=True)

    process: str
    """Its roles, such as `engine`, or the command, such as `doctor`."""
    host: str
    port: int
    """0: several, or none was told."""
    purpose: str
    """Empty where no setting names the place."""
    first: datetime
    last: datetime
    connections: int
    """Begun, whether they came about or not."""
    refused: int


class EgressBook:
    """Counts of all processes; they outlive the processes."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        keys = Keys()
        self._counts, self._first, self._last = (keys.egress(kind) for kind in ("counts", "first", "last"))

    async def keep(self, guard: EgressGuard, stop: asyncio.Event) -> None:
        """Write down what a guard counts until `stop` is set, and once more then."""
        while not stop.is_set():
            await happens(stop, within_s=WRITE_EVERY_S)
            await self.write(guard)

    async def write(self, guard: EgressGuard) -> None:
        """Write down what was counted since the last time; while Redis is away it stays with the guard."""
        if not (taken := guard.ledger.take()):
            return
        try:
            with bus_errors("the egress ledger could not be written"):
                await self._add(guard.process, taken)
        except BusError as error:
            guard.ledger.put_back(taken.items())
            log.warning("egress_not_written", error=str(error))

    async def _add(self, process: str, taken: Mapping[Place, Visits]) -> None:
        pipe = self._redis.pipeline(transaction=True)
        for place, each in taken.items():
            entry = json.dumps([process, *place])
            pipe.hincrby(self._counts, f"{entry} connections", each.connections)
            pipe.hincrby(self._counts, f"{entry} refused", each.refused)
            pipe.zadd(self._first, {entry: each.first.timestamp()}, lt=True)
            pipe.zadd(self._last, {entry: each.last.timestamp()}, gt=True)
        pipe.zrange(self._last, 0, -MOST_ENTRIES - 1)
        if old := [entry.decode() for entry in (await pipe.execute())[-1]]:
            gone = self._redis.pipeline(transaction=True)
            gone.hdel(
                self._counts, *(f"{entry} {kind}" for entry in old for kind in ("connections", "refused"))
            )
            gone.zrem(self._first, *old)
            gone.zrem(self._last, *old)
            await gone.execute()

    async def entries(self) -> list[EgressEntry]:
        """Return all that is known, the latest first.

        Raises: BusError: Redis is away.
        """
        with bus_errors("the egress ledger could not be read"):
            pipe = self._redis.pipeline(transaction=True)
            pipe.hgetall(self._counts)
            pipe.zrange(self._first, 0, -1, withscores=True)
            pipe.zrange(self._last, 0, -1, withscores=True, desc=True)
            counts, first, last = await pipe.execute()
        began = dict(first)
        return [_entry(key, began.get(key, at), at, counts) for key, at in last]


def _entry(key: bytes, first: float, last: float, counts: Mapping[bytes, bytes]) -> EgressEntry:
    process, host, port, purpose = json.loads(key)
    return EgressEntry(
        process=process,
        host=host,
        port=port,
        purpose=purpose,
        first=datetime.fromtimestamp(first, UTC),
        last=datetime.fromtimestamp(last, UTC),
        connections=int(counts.get(key + b" connections", 0)),
        refused=int(counts.get(key + b" refused", 0)),
    )
