"""Small durable state of a connector: watermarks, counters, keys that all its processes share."""

import re
import secrets
from typing import Any

from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys
from hub.bus.nodes import scan_pages


class State:
    """Strings and counters by name, for one owner."""

    def __init__(self, redis: Redis, owner: str) -> None:
        self._redis: Any = redis
        self._owner = owner

    def _key(self, name: str) -> str:
        return Keys().state(self._owner, name)

    async def get(self, name: str) -> str | None:
        """Return a value; None when there is none."""
        with bus_errors("a connector's state could not be read"):
            value = await self._redis.get(self._key(name))
        return None if value is None else value.decode("utf-8", "replace")

    async def set(self, name: str, value: str, ttl_s: float | None = None) -> None:
        """Keep a value, for ever or for `ttl_s` seconds."""
        with bus_errors("a connector's state could not be written"):
            await self._redis.set(self._key(name), value.encode("utf-8", "replace"), px=_milliseconds(ttl_s))

    async def keep_first(self, name: str, value: str, ttl_s: float | None = None) -> str:
        """Keep a value unless there is one already; returns the one that stands, in every process the same."""
        with bus_errors("a connector's state could not be written"):
            pipe = self._redis.pipeline(transaction=True)
            pipe.set(self._key(name), value.encode("utf-8", "replace"), px=_milliseconds(ttl_s), nx=True)
            pipe.get(self._key(name))
            return str((await pipe.execute())[1].decode("utf-8", "replace"))

    async def claim(self, name: str, ttl_s: float) -> bool:
        """Take a name for `ttl_s` seconds; True for the first who asks, in whichever process."""
        with bus_errors("a connector's state could not be written"):
            return bool(await self._redis.set(self._key(name), 1, px=_milliseconds(ttl_s), nx=True))

    async def delete(self, name: str) -> None:
        """Forget a value."""
        with bus_errors("a connector's state could not be removed"):
            await self._redis.delete(self._key(name))

    async def change(self, name: str, value: str) -> None:
        """Put another value into the place of one, for as long as that was to stay."""
        with bus_errors("a connector's state could not be written"):
            await self._redis.set(self._key(name), value.encode("utf-8", "replace"), keepttl=True, xx=True)

    async def names(self, prefix: str) -> list[str]:
        """Return the names of what is kept that begin with `prefix`; those that are kept under a digest are left out."""
        beginning = self._key("-")[:-1]
        pattern = f"{_escaped(beginning + prefix)}*"
        found = set[str]()
        async for page in scan_pages(self._redis, pattern, count=1000):
            found |= {key.decode("utf-8", "replace") for key in page}
        return sorted(name.removeprefix(beginning) for name in found)

    async def add(self, name: str, member: str) -> None:
        """Put a member into a set."""
        with bus_errors("a connector's state could not be written"):
            await self._redis.sadd(self._key(name), member)

    async def discard(self, name: str, member: str) -> None:
        """Take a member out of a set."""
        with bus_errors("a connector's state could not be written"):
            await self._redis.srem(self._key(name), member)

    async def members(self, name: str) -> list[str]:
        """Return the members of a set, sorted; none when there is none."""
        with bus_errors("a connector's state could not be read"):
            return sorted(member.decode() for member in await self._redis.smembers(self._key(name)))

    async def increment(self, name: str, ttl_s: float, by: int = 1) -> int:
        """Add one, or `by`, and return the sum; it starts anew `ttl_s` seconds after the first."""
        with bus_errors("a connector's state could not be written"):
            pipe = self._redis.pipeline(transaction=True)
            # The time to live is set with the first count, so that it cannot be missed by a crash between.
            pipe.set(self._key(name), 0, px=_milliseconds(ttl_s), nx=True)
            pipe.incrby(self._key(name), by)
            return int((await pipe.execute())[1])

    async def shared_secret(self, name: str) -> bytes:
        """Return 32 random bytes that are the same in every process, made at the first call."""
        with bus_errors("a shared secret could not be read"):
            await self._redis.set(self._key(name), secrets.token_hex(32), nx=True)
            return bytes.fromhex((await self._redis.get(self._key(name))).decode())


def _escaped(pattern: str) -> str:
    return re.sub(r"([*?\[\]\\^])", r"\\\1", pattern)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, round(seconds * 1000))
