"""Answers kept for whoever asks the same again; what the same is, the engine decides."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys

Kind = Literal["answer", "search"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLimits:
    """What one cache may take of Redis' memory: at most the product of both."""

    answers: int = 10_000
    answer_bytes: int = 16_384


LIMITS: dict[Kind, CacheLimits] = {
    "answer": CacheLimits(),
    # Twenty passages are longer than an answer.
    "search": CacheLimits(answers=4_000, answer_bytes=65_536),
}

_SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCounts:
    """How often a cache was asked, since Redis' data began."""

    lookups: int = 0
    hits: int = 0
    misses: int = 0

    @property
    def is_consistent(self) -> bool:
        """Whether every look-up is one hit or one miss."""
        return self.hits + self.misses == self.lookups


class AnswerCache:
    """The cache of all processes that share one Redis."""

    def __init__(
        self, redis: Redis, *, ttl_s: float, kind: Kind = "answer", limits: CacheLimits | None = None
    ) -> None:
        self._find = redis.register_script((_SCRIPTS / "cache_find.lua").read_text("utf-8"))
        self._keep = redis.register_script((_SCRIPTS / "cache_keep.lua").read_text("utf-8"))
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._kind = kind
        self._limits = limits or LIMITS[kind]

    async def find(self, digest: str) -> bytes | None:
        """Return what is kept under a digest, and count the look-up.

        Raises: BusError: Redis is away.
        """
        keys = [Keys().cached(self._kind, digest), Keys().cache_counts(self._kind)]
        with bus_errors("the cache could not be read"):
            found: bytes | None = await self._find(keys=keys)
        return found

    async def keep(self, digest: str, answer: bytes, *, owner: str = "", message: str = "") -> None:
        """Keep an answer, unless it is very long.

        Args:
            owner: whose question it answers, as `principal_of` names them; it is erased with them.
            message: external key of the one that was answered; nothing is kept where it was erased since.

        Raises: BusError: Redis is away.
        """
        if len(answer) > self._limits.answer_bytes:
            return
        keys = [
            Keys().cached(self._kind, digest),
            Keys().cache_index(self._kind),
            Keys().cache_owner(self._kind, owner),
            Keys().erased(owner),
            Keys().erased(message or owner),
        ]
        with bus_errors("the cache could not be written"):
            await self._keep(keys=keys, args=[answer, self._ttl_ms, self._limits.answers])


async def cache_counts(redis: Redis, kind: Kind = "answer") -> CacheCounts:
    """Read how often a cache was asked, at one moment.

    Raises: BusError: Redis is away.
    """
    client: Any = redis
    names = ("lookups", "hits", "misses")
    with bus_errors("the cache's counts could not be read"):
        found = await client.hmget(Keys().cache_counts(kind), names)
    return CacheCounts(**{name: int(value or 0) for name, value in zip(names, found, strict=True)})
