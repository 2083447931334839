"""Walking over Redis' keys and streams in pages, so that any number of them takes little memory and blocks nobody."""

from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys
from hub.bus.nodes import scan_pages

T = TypeVar("T")
PAGE = 500

Fields = dict[bytes, bytes]


class Keyspace:
    """All keys of the hub in one Redis."""

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self.redis: Any = redis
        self.shards = [Keys(shard) for shard in range(shards)]

    async def pages(self, keys: Keys, kind: str, *, within: str = "*") -> AsyncIterator[list[str]]:
        """Give the keys of a kind in one shard, such as `history`.

        Args:
            within: a glob for what follows the kind.
        """
        seen = set[str]()
        async for found in scan_pages(self.redis, f"{keys.prefix(kind)}{within}", count=PAGE):
            page = [key.decode("utf-8", "replace") for key in found]
            # SCAN may give a key twice; within one call a key counts once.
            if fresh := [key for key in page if key not in seen]:
                seen.update(fresh)
                yield fresh

    async def entries(self, stream: str) -> AsyncIterator[list[tuple[bytes, Fields]]]:
        """Give a stream's entries, oldest first."""
        start = "-"
        while True:
            with bus_errors("a stream could not be read"):
                page = await self.redis.xrange(stream, start, "+", count=PAGE)
            if page:
                yield page
            if len(page) < PAGE:
                return
            start = f"({page[-1][0].decode()}"

    async def delete(self, keys: Iterable[str]) -> int:
        """Delete keys; returns how many there were."""
        gone = 0
        for page in paged(sorted(keys)):
            with bus_errors("keys could not be deleted"):
                pipe = self.redis.pipeline(transaction=False)
                for key in page:
                    pipe.delete(key)
                gone += sum(await pipe.execute())
        return gone

    async def existing(self, keys: Iterable[str]) -> int:
        """Count those keys that exist."""
        there = 0
        for page in paged(sorted(keys)):
            with bus_errors("keys could not be looked up"):
                pipe = self.redis.pipeline(transaction=False)
                for key in page:
                    pipe.exists(key)
                there += sum(await pipe.execute())
        return there


def paged(items: list[T]) -> Iterable[list[T]]:
    """Cut a list into pages."""
    return (items[at : at + PAGE] for at in range(0, len(items), PAGE))


def text(value: bytes | None) -> str:
    """Decode what Redis gives back."""
    return (value or b"").decode("utf-8", "replace")
