"""Answers kept for whoever asks the same again; what the same is, the engine decides."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys

MAX_ANSWERS = 10_000
MAX_ANSWER_BYTES = 16_384
"""Together with MAX_ANSWERS this bounds what the cache takes of Redis' memory."""

_SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCounts:
    """How often the cache was asked, since Redis' data began."""

    hits: int = 0
    misses: int = 0


class AnswerCache:
    """The cache of all processes that share one Redis."""

    def __init__(self, redis: Redis, *, ttl_s: float, max_answers: int = MAX_ANSWERS) -> None:
        self._find = redis.register_script((_SCRIPTS / "cache_find.lua").read_text("utf-8"))
        self._keep = redis.register_script((_SCRIPTS / "cache_keep.lua").read_text("utf-8"))
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._max_answers = max_answers

    async def find(self, digest: str) -> bytes | None:
        """Return what is kept under a digest, and count the look-up.

        Raises: BusError: Redis is away.
        """
        with bus_errors("the cache could not be read"):
            found: bytes | None = await self._find(keys=[Keys().cached(digest), Keys().cache_counts])
        return found

    async def keep(self, digest: str, answer: bytes, *, owner: str = "") -> None:
        """Keep an answer, unless it is very long.

        Args:
            owner: whose question it answers, as `principal_of` names them; it is erased with them.

        Raises: BusError: Redis is away.
        """
        if len(answer) > MAX_ANSWER_BYTES:
            return
        keys = [Keys().cached(digest), Keys().cache_index, Keys().cache_owner(owner), Keys().erased(owner)]
        with bus_errors("the cache could not be written"):
            await self._keep(keys=keys, args=[answer, self._ttl_ms, self._max_answers])


async def cache_counts(redis: Redis) -> CacheCounts:
    """Read how often the cache was asked.

    Raises: BusError: Redis is away.
    """
    client: Any = redis
    with bus_errors("the cache's counts could not be read"):
        hits, misses = await client.hmget(Keys().cache_counts, ["hits", "misses"])
    return CacheCounts(hits=int(hits or 0), misses=int(misses or 0))
