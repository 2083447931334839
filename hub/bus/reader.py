"""How a consumer learns of entries: new ones, ones a dead consumer left, and lane heads nobody was told of."""

from collections.abc import AsyncIterator
from typing import Any

import redis.exceptions
import structlog
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.group_read import GroupRead
from hub.bus.nodes import scan_pages
from hub.bus.queue import Entry, OrderedQueue

log = structlog.get_logger(__name__)

PAGE = 100
ORPHANS = "orphans"
"""Name of the consumer that holds what retired ones had not finished."""
FORGET_AFTER_S = 3600.0
"""So long after its last entry a consumer counts as dead. Before Redis 7.2 reads that find nothing are not counted, so a
quiet one that lives may be removed, too; its next read makes it anew."""

_GONE = ("NOGROUP", "UNBLOCKED", "no longer exists")


class StreamReader:
    """Reads one stream for one consumer over a connection of its own."""

    def __init__(self, queue: OrderedQueue, client: Redis, consumer: str) -> None:
        self._queue = queue
        self._waiting = GroupRead(client)
        self._consumer = consumer

    async def ensure_group(self) -> None:
        """Create the consumer group from the beginning of the stream, unless it exists."""
        with bus_errors("the consumer group could not be created"):
            try:
                await self._queue.redis.xgroup_create(
                    self._queue.stream, self._queue.group, id="0", mkstream=True
                )
            except redis.exceptions.ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def read(self, count: int) -> list[Entry]:
        """Wait up to BLOCK_S for new entries. Never cancel it: a cancelled read strands what it was given."""
        with bus_errors("the stream could not be read"):
            try:
                answer = await self._waiting.entries(
                    self._queue.group, self._consumer, {self._queue.stream: ">"}, count=count
                )
            except redis.exceptions.ResponseError as error:
                if not any(sign in str(error) for sign in _GONE):
                    raise
                # Somebody removed the stream or the group. Lanes that still hold work are found by `orphans`.
                log.error("stream_removed", stream=self._queue.stream, error=str(error))
                await self.ensure_group()
                return []
        return [_entry(*pair) for _, pairs in answer for pair in pairs]

    async def wake(self) -> None:
        """Let a read that waits return."""
        await self._waiting.wake(self._queue.redis)

    async def stale(self, idle_s: float) -> AsyncIterator[Entry]:
        """Find what was delivered `idle_s` ago and is not finished: one entry of each lane.

        Nothing is claimed. Whoever enters the lane goes on with it; where its worker is alive, entering answers
        Busy, and because a look leaves the idle time alone, the next look finds the lane again.
        """
        lanes: set[str] = set()
        start = "-"
        while True:
            with bus_errors("stale entries could not be listed"):
                pending: Any = await self._queue.redis.xpending_range(
                    self._queue.stream, self._queue.group, start, "+", PAGE, idle=int(idle_s * 1000)
                )
            ids: list[bytes] = [item["message_id"] for item in pending]
            for entry, lane in await self._queue.lanes_of(ids) if ids else []:
                if lane is None:
                    # Trimmed or deleted by hand: its lane is found by `orphans`.
                    log.error("entry_missing", stream=self._queue.stream, entry=entry)
                elif lane not in lanes:
                    yield Entry(id=entry, lane=lane)
                    if lane:
                        lanes.add(lane)
            if len(ids) < PAGE:
                return
            start = f"({ids[-1].decode()}"

    async def orphans(self) -> AsyncIterator[Entry]:
        """Find lane heads that no consumer will be told of.

        It happens when an operator removes a consumer, the group or entries by hand.
        """
        prefix = self._queue.keys.lane(self._queue.name, "")
        async for found in scan_pages(self._queue.redis, f"{prefix}*", count=500):
            lanes = [key.decode("utf-8", "replace").removeprefix(prefix) for key in found]
            for entry in await self._queue.orphaned_heads(lanes):
                log.error("orphan_found", stream=self._queue.stream, entry=entry.id, lane=entry.lane)
                yield entry

    async def forget_dead(self, idle_s: float = FORGET_AFTER_S) -> int:
        """Remove consumers that have not asked for entries for `idle_s`; what they had goes to the others.

        Returns: how many were removed.
        """
        with bus_errors("the consumers could not be listed"):
            consumers: Any = await self._queue.redis.xinfo_consumers(self._queue.stream, self._queue.group)
        names = [
            item["name"].decode("utf-8", "replace") for item in consumers if item["idle"] > idle_s * 1000
        ]
        dead = [name for name in names if name not in (ORPHANS, self._consumer)]
        for name in dead:
            handed_over = await self._queue.retire(name)
            log.warning("dead_consumer_removed", queue=self._queue.name, handed_over=handed_over)
        return len(dead)

    async def close(self) -> None:
        """Close the blocking connection."""
        await self._waiting.close()


def _entry(entry: bytes, fields: dict[bytes, bytes] | None) -> Entry:
    lane = (fields or {}).get(b"lane", b"")
    try:
        return Entry(id=entry.decode(), lane=lane.decode())
    except UnicodeDecodeError:
        return Entry(id=entry.decode(), lane="")
