"""Redis in a backup: every key as DUMP gives it, all of one moment, with the time at which it goes.

While the last keys are copied, writers wait (CLIENT PAUSE ... WRITE): no script is half in and half out of the copy. The
pause ends by itself should this process be killed. It works alike on one server, behind Sentinel and on a Cluster, and
asks nothing of the server's disk.
"""

import contextlib
import math
import re
import struct
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

import redis.exceptions
import structlog
from redis.asyncio import Redis

from hub.backup.changes import Changes, ChangesMissed, written_keys
from hub.backup.sealed import BackupRefused
from hub.bus.connection import bus_errors
from hub.bus.heartbeat import is_alive
from hub.bus.keys import Keys
from hub.errors import BusError

log = structlog.get_logger(__name__)

PAUSE_S = 4.0
"""Longest wait of a writer: below what clients of the hub wait for an answer."""
PAGE = 500
FENCE_STEP = 1_000_000
"""A worker of the time after the backup may still hold a fence that was given since; it must stay the older one."""
_BATCH_BYTES = 4 << 20
_FEW = 200
"""Keys that are copied in no time: writers are let wait once no more than these were written meanwhile."""
_MOST_ROUNDS = 5
_MAX_KEY_BYTES = 64 << 10
_MAX_VALUE_BYTES = 512 << 20
"""Of one value in Redis (proto-max-bulk-len)."""
_RECORD = struct.Struct(">IqI")
"""Length of the key, when it goes in milliseconds since 1970 or -1, length of the value."""
_NAME = re.compile(rb"hubbub:\{(\d{1,5})\}:([^:]+)")
PASSING = frozenset(
    b"alive told egress models control calls answers partial deltas limit lease rewritten vectors "
    b"cache cache-index cache-owner cache-counts".split()
)
"""Kinds of keys that tell of processes, or can be made again: a restored hub begins without them."""
_NOBODYS = frozenset(
    {Keys().state("erasure", "lease").encode(), Keys().state("restore", "unfinished").encode()}
)


class CopyTooSlow(BusError):
    """Redis holds more than could be copied while its writers wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What was copied."""

    keys: int
    cut_at: datetime
    paused_s: float


async def copy_keys(
    client: Redis, file: IO[bytes], scratch: IO[bytes], *, pause_s: float = PAUSE_S
) -> Copied:
    """Write all keys of the hub as they are at one moment.

    Most of them are copied while everybody works, and what was written meanwhile once more while writers wait. Where the
    server does not tell what is written, they wait for all of it.

    Args:
        scratch: an empty file that can be read and written, for the time of the call.
        pause_s: longest time for which writers wait.

    Raises:
        CopyTooSlow: it would have taken longer. BusError: Redis is away, or allows no pause while the hub runs.
        OSError: a file cannot be written.
    """
    with bus_errors("Redis could not be copied"):
        nodes = await _masters(client)
        copy = _Copy(client, scratch)
        async with written_keys(nodes) as listening:
            changes = listening if listening and await _copied_ahead(copy, listening) else []
            async with _writers_waiting(client, nodes, pause_s) as began:
                copy.ends_at = began + pause_s
                seconds, microseconds = await _time(client)
                await _copy_rest(copy, changes)
                copy.check_time()
            paused_s = time.monotonic() - began
        count = copy.write(file)
    cut_at = datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)
    return Copied(keys=count, cut_at=cut_at, paused_s=round(paused_s, 3))


async def _copied_ahead(copy: "_Copy", changes: Sequence[Changes]) -> bool:
    """Copy everything, and again what was written meanwhile, until that is little; False where nobody knows what was."""
    try:
        await copy.take_all()
        for _ in range(_MOST_ROUNDS):
            written = await _written(changes)
            await copy.take(written)
            if len(written) < _FEW:
                break
    except ChangesMissed as error:
        log.warning("redis_changes_missed", error=str(error))
        return False
    return True


async def _copy_rest(copy: "_Copy", changes: Sequence[Changes]) -> None:
    """Copy what is still to be copied while writers wait: what was written since, or all of it."""
    try:
        if changes:
            await copy.take(await _written(changes))
            return
    except ChangesMissed as error:
        log.warning("redis_changes_missed", error=str(error))
    copy.forget()
    await copy.take_all()


async def _written(changes: Sequence[Changes]) -> set[bytes]:
    for one in changes:
        await one.drain()
    return {key for one in changes for key in one.take() if _belongs(key)}


class _Copy:
    """Keys as they were when they were last looked at.

    Args:
        scratch: holds every record that was taken, also those that another has replaced since.
    """

    def __init__(self, client: Any, scratch: IO[bytes]) -> None:
        self._client = client
        self._scratch = scratch
        self._places: dict[bytes, tuple[int, int]] = {}
        """Where the latest record of a key begins, and how long it is."""
        self.ends_at = math.inf
        """Until when all has to be taken, on the monotonic clock."""

    def forget(self) -> None:
        """Drop every key that was taken."""
        self._places.clear()

    async def take_all(self) -> None:
        """Take every key there is.

        Raises: CopyTooSlow: not in time.
        """
        async for page in _pages(self._client):
            await self._take(page)

    async def take(self, keys: Iterable[bytes]) -> None:
        """Take some keys anew; those that are gone by now are dropped.

        Raises: CopyTooSlow: not in time.
        """
        wanted = sorted(keys)
        for start in range(0, len(wanted), PAGE):
            await self._take(wanted[start : start + PAGE])

    async def _take(self, page: Sequence[bytes]) -> None:
        pipe = self._client.pipeline(transaction=False)
        for key in page:
            pipe.dump(key)
            pipe.pttl(key)
        seconds, microseconds = await _time(self._client)
        asked_at, now_ms = time.monotonic(), seconds * 1000 + microseconds // 1000
        answers = await pipe.execute()
        now_ms += round((time.monotonic() - asked_at) * 1000)
        for key, value, left_ms in zip(page, answers[::2], answers[1::2], strict=True):
            self._places.pop(key, None)
            if value is not None:
                ends_ms = now_ms + left_ms if left_ms >= 0 else -1
                record = _RECORD.pack(len(key), ends_ms, len(value)) + key + value
                self._places[key] = (self._scratch.tell(), len(record))
                self._scratch.write(record)
        self.check_time()

    def check_time(self) -> None:
        """Make sure that writers still wait.

        Raises: CopyTooSlow: they do not.
        """
        if time.monotonic() > self.ends_at:
            raise CopyTooSlow(
                "more of Redis has to be copied than is possible while its writers wait. Repeat with --longest-pause 30, or "
                "stop the hub meanwhile."
            )

    def write(self, file: IO[bytes]) -> int:
        """Write the latest record of every key; returns how many there are."""
        for place, length in sorted(self._places.values()):
            self._scratch.seek(place)
            file.write(self._scratch.read(length))
        return len(self._places)


@contextlib.asynccontextmanager
async def _writers_waiting(client: Any, nodes: Sequence[Any], pause_s: float) -> AsyncIterator[float]:
    """Let writers wait until the end of the block; gives the moment it began, on the monotonic clock."""
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as paused:
        try:
            for node in nodes:
                await node.execute_command("CLIENT PAUSE", max(1, round(pause_s * 1000)), "WRITE")
                paused.push_async_callback(node.execute_command, "CLIENT UNPAUSE")
        except redis.exceptions.ResponseError as error:
            # Hosted servers may forbid it. Where no process of the hub lives, nobody writes either.
            if await is_alive(client, "hub") or await is_alive(client, "engine"):
                raise BusError(
                    f"this Redis lets no writers wait ({error}). Allow its user CLIENT PAUSE and CLIENT UNPAUSE, or stop "
                    "the hub for the backup."
                ) from error
        yield began


async def _masters(client: Any) -> list[Any]:
    """Return the servers that hold keys: on a Cluster all masters."""
    masters = getattr(client, "masters", None)
    return [client] if masters is None else list((await masters()).values())


async def _time(client: Any) -> tuple[int, int]:
    seconds, microseconds = await client.time()
    return int(seconds), int(microseconds)


async def _pages(client: Any) -> AsyncIterator[list[bytes]]:
    """Give the keys that belong into a backup, each once."""
    seen, page = set[bytes](), list[bytes]()
    async for key in _scanned(client):
        if key not in seen and _belongs(key):
            seen.add(key)
            page.append(key)
            if len(page) == PAGE:
                yield page
                page = []
    if page:
        yield page


async def _scanned(client: Any) -> AsyncIterator[bytes]:
    for node in await _masters(client):
        async for key in node.scan_iter(match="hubbub:*", count=PAGE):
            yield key


def _belongs(key: bytes) -> bool:
    match = _NAME.match(key)
    return match is not None and match[2] not in PASSING and key not in _NOBODYS


@dataclass(frozen=True, slots=True)
class Record:
    """One key."""

    key: bytes
    ends_ms: int
    value: bytes


def read_records(file: IO[bytes], *, shards: int) -> Iterator[Record]:
    """Read what `copy_keys` wrote.

    Raises: BackupRefused: it is damaged, or holds a key that no backup holds.
    """
    while head := file.read(_RECORD.size):
        try:
            key_bytes, ends_ms, value_bytes = _RECORD.unpack(head)
        except struct.error:
            raise BackupRefused("the copy of Redis ends in the middle of a key") from None
        if key_bytes > _MAX_KEY_BYTES or value_bytes > _MAX_VALUE_BYTES:
            raise BackupRefused("the copy of Redis holds a key that is larger than Redis allows")
        key, value = _exactly(file, key_bytes), _exactly(file, value_bytes)
        match = _NAME.match(key)
        if match is None or not _belongs(key) or int(match[1]) >= shards:
            raise BackupRefused(f"the copy of Redis holds the key {key[:80]!r}, which no backup holds")
        yield Record(key, ends_ms, value)


def _exactly(file: IO[bytes], count: int) -> bytes:
    parts, left = list[bytes](), count
    while left and (part := file.read(min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    if left:
        raise BackupRefused("the copy of Redis ends in the middle of a key")
    return b"".join(parts)


async def load_keys(client: Redis, records: Iterator[Record], *, shards: int, from_version: str) -> int:
    """Put the keys into a Redis that holds none of the hub; returns how many.

    Those whose time is over are left out, and fences begin where no earlier worker can have come to.

    Raises: BackupRefused: this Redis cannot read them. BusError: it is away or full.
    """
    untyped: Any = client
    count = 0
    with bus_errors("Redis could not be filled"):
        now_s, _ = await _time(untyped)
        pipe, size = untyped.pipeline(transaction=False), 0
        for record in records:
            if 0 <= record.ends_ms <= now_s * 1000:
                continue
            ends = {"ttl": max(0, record.ends_ms), "absttl": record.ends_ms >= 0}
            pipe.restore(record.key, value=record.value, replace=True, **ends)
            size += len(record.value)
            count += 1
            if size > _BATCH_BYTES or len(pipe) >= PAGE:
                await _send(untyped, pipe, from_version)
                pipe, size = untyped.pipeline(transaction=False), 0
        await _send(untyped, pipe, from_version)
        for shard in range(shards):
            await untyped.incrby(Keys(shard).fence, FENCE_STEP)
    return count


async def _send(client: Any, pipe: Any, from_version: str) -> None:
    if not len(pipe):
        return
    try:
        await pipe.execute()
    except redis.exceptions.ResponseError as error:
        if "payload" not in str(error) and "Bad data format" not in str(error):
            raise
        here = await redis_version(client)
        raise BackupRefused(
            f"Redis {here} cannot read what Redis {from_version} wrote: restore with version {from_version} or newer"
        ) from error


async def redis_version(client: Redis) -> str:
    """Tell the version of a server; of a Cluster that of one of its nodes.

    Raises: BusError: it is away.
    """
    untyped: Any = client
    with bus_errors("Redis cannot be asked for its version"):
        info = await untyped.info("server")
    return str(info["redis_version"])


async def count_keys(client: Redis, *, at_most: int = 1) -> int:
    """Count the hub's keys in a Redis, up to a limit; what tells of processes does not count.

    Raises: BusError: it is away.
    """
    count = 0
    with bus_errors("Redis could not be looked through"):
        async for page in _pages(client):
            count += len(page)
            if count >= at_most:
                break
    return count


async def clear_keys(client: Redis) -> None:
    """Remove all keys of the hub but the mark of an unfinished restore.

    Raises: BusError: Redis is away; repeating is safe.
    """
    untyped: Any = client
    mark = Keys().state("restore", "unfinished").encode()
    with bus_errors("Redis could not be emptied"):
        page = list[bytes]()
        async for key in _scanned(untyped):
            if key != mark:
                page.append(key)
            if len(page) >= PAGE:
                await _unlink(untyped, page)
                page = []
        await _unlink(untyped, page)


async def _unlink(client: Any, keys: list[bytes]) -> None:
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.unlink(key)
    if keys:
        await pipe.execute()
