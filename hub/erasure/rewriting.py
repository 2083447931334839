"""Streams of which entries were deleted: Redis keeps their bytes until a whole block of neighbours is gone."""

import time
from pathlib import Path

from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys
from hub.erasure.keyspace import Keyspace

_SCRIPTS = Path(__file__).parent.parent / "bus" / "scripts"
_OUTBOUND = "outbound"
_CALLS = ("calls", "answers")
CALLS_KEPT_S = 10
"""Nobody names whose calls between processes are; those that nobody waits for any more are dropped."""
PAGE = 100
"""Entries that are copied at once: some milliseconds, in which Redis does nothing else."""
FIRST_LOOK = 500
"""Entries that are compared when the copy takes the stream's place; twice as many when that was not enough."""
COPY_KEPT_S = 3600
"""How long a copy outlives the process that was killed while it made it."""


class RedisStreams:
    """All streams that have ever held what people said, written anew one by one.

    Each is copied in short steps, between which everybody works on, and the copy takes its place. While that lasts
    Redis needs the memory of the longest stream twice.
    """

    name = "redis_streams"

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self._keyspace = Keyspace(redis, shards=shards)
        self._copy = redis.register_script((_SCRIPTS / "rewrite_copy.lua").read_text("utf-8"))
        self._swap = redis.register_script((_SCRIPTS / "rewrite_swap.lua").read_text("utf-8"))

    async def compact(self) -> None:
        """Write the streams anew; whoever reads or works on them notices nothing.

        Raises: BusError: Redis is away; repeating is safe.
        """
        for keys in self._keyspace.shards:
            for stream in await self._streams(keys):
                with bus_errors("a stream could not be written anew"):
                    if await self._keyspace.redis.type(stream) == b"stream":
                        await self._rewrite(stream, keys.rewritten(stream))

    async def _rewrite(self, stream: str, copy: str) -> None:
        # One that a killed process has left may hold what was removed since.
        await self._keyspace.redis.unlink(copy)
        look = FIRST_LOOK
        while True:
            while await self._copy(keys=[stream, copy], args=[PAGE]) == PAGE:
                await self._keyspace.redis.expire(copy, COPY_KEPT_S)
            match await self._swap(keys=[stream, copy], args=[look]):
                case b"DONE":
                    return
                case b"CHANGED":
                    # In the end all of it is looked at, which cannot fail.
                    look *= 2

    async def _streams(self, keys: Keys) -> list[str]:
        found = [
            keys.stream("inbound"),
            keys.dead,
            keys.events,
            keys.deltas,
            keys.quarantine,
            keys.control,
        ]
        async for page in self._keyspace.pages(keys, _OUTBOUND):
            found += page
        for kind in _CALLS:
            async for page in self._keyspace.pages(keys, kind):
                for stream in page:
                    with bus_errors("old calls could not be removed"):
                        oldest = int((time.time() - CALLS_KEPT_S) * 1000)
                        await self._keyspace.redis.xtrim(stream, minid=oldest, approximate=False)
                found += page
        return found
