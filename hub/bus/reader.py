"""How a consumer learns of entries: new ones, ones a dead consumer left, and lane heads nobody was told of."""

from collections.abc import AsyncIterator
from typing import Any

import redis.exceptions
import structlog
from redis.asyncio import Redis

from hub.bus.connection import BLOCK_S, bus_errors
from hub.bus.queue import Entry, OrderedQueue

log = structlog.get_logger(__name__)

_GONE = ("NOGROUP", "UNBLOCKED", "no longer exists")


class StreamReader:
    """Reads one stream for one consumer over a connection of its own."""

    def __init__(self, queue: OrderedQueue, client: Redis, consumer: str) -> None:
        self._queue = queue
        self._client = client
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
                answer: Any = await self._client.xreadgroup(
                    self._queue.group,
                    self._consumer,
                    {self._queue.stream: ">"},
                    count=count,
                    block=int(BLOCK_S * 1000),
                )
            except redis.exceptions.ResponseError as error:
                if not any(sign in str(error) for sign in _GONE):
                    raise
                # Somebody removed the stream or the group. Lanes that still hold work are found by `orphans`.
                log.error("stream_removed", stream=self._queue.stream, error=str(error))
                await self.ensure_group()
                return []
        return [_entry(*pair) for _, pairs in answer or [] for pair in pairs]

    async def stale(self, idle_s: float) -> AsyncIterator[Entry]:
        """Take over entries whose consumer has not finished them for `idle_s`.

        A conversation whose worker is alive is not disturbed: entering it answers Busy.
        """
        # XPENDING and XCLAIM rather than XAUTOCLAIM: redis-py gives no cursor together with JUSTID, and
        # without JUSTID every look would count as a delivery.
        start = "-"
        while True:
            with bus_errors("stale entries could not be claimed"):
                pending: Any = await self._queue.redis.xpending_range(
                    self._queue.stream, self._queue.group, start, "+", 100, idle=int(idle_s * 1000)
                )
                ids: list[Any] = [item["message_id"] for item in pending]
                claimed: Any = ids and await self._queue.redis.xclaim(
                    self._queue.stream,
                    self._queue.group,
                    self._consumer,
                    int(idle_s * 1000),
                    ids,
                    justid=True,
                )
            for entry in claimed:
                if found := await self._lookup(entry):
                    yield found
            if len(ids) < 100:
                return
            start = f"({ids[-1].decode()}"

    async def _lookup(self, entry: bytes) -> Entry | None:
        with bus_errors("an entry could not be read"):
            found: Any = await self._queue.redis.xrange(self._queue.stream, entry, entry)
        if found:
            return _entry(*found[0])
        # Trimmed or deleted by hand: its lane is found through `orphans`, the pending mark is of no use.
        log.error("entry_missing", stream=self._queue.stream, entry=entry.decode())
        with bus_errors("an entry could not be acknowledged"):
            await self._queue.redis.xack(self._queue.stream, self._queue.group, entry)
        return None

    async def orphans(self) -> AsyncIterator[Entry]:
        """Find lane heads that were delivered once and are pending with nobody.

        It happens when an operator removes a consumer, the group or entries by hand.
        """
        client: Any = self._queue.redis
        prefix = self._queue.keys.lane(self._queue.name, "")
        with bus_errors("the lanes could not be listed"):
            delivered = await self._last_delivered()
            async for key in client.scan_iter(match=f"{prefix}*", count=500):
                head: Any = await client.lindex(key, 0)
                if head is None or _order(head) > delivered:
                    continue
                pending = await client.xpending_range(
                    self._queue.stream, self._queue.group, min=head, max=head, count=1
                )
                if not pending:
                    yield Entry(id=head.decode(), lane=key.decode().removeprefix(prefix))

    async def _last_delivered(self) -> tuple[int, int]:
        for group in await self._queue.redis.xinfo_groups(self._queue.stream):
            if group["name"] == self._queue.group.encode():
                return _order(group["last-delivered-id"])
        return (0, 0)

    async def close(self) -> None:
        """Close the blocking connection."""
        await self._client.aclose()


def _order(entry: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = entry.partition(b"-")
    return int(milliseconds), int(sequence or 0)


def _entry(entry: bytes, fields: dict[bytes, bytes] | None) -> Entry:
    lane = (fields or {}).get(b"lane", b"")
    try:
        return Entry(id=entry.decode(), lane=lane.decode())
    except UnicodeDecodeError:
        return Entry(id=entry.decode(), lane="")
