"""One process erases at a time: where two did, one would remove what people wrote after the other was done."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import redis.exceptions
import structlog
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys
from hub.errors import BusError, HubError

log = structlog.get_logger(__name__)

LEASE_S = 30.0
"""How long a killed process keeps the next one waiting."""
_LOOK_S = 0.1
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class ErasureTaken(HubError):
    """Another process erases now; this one was away for too long, and must not go on."""


class ErasureLease:
    """The right to erase, for as long as the process lives.

    Args:
        owner: of the state in which it stands.
        lease_s: how long it outlives its process.
    """

    def __init__(self, redis: Redis, owner: str, *, lease_s: float = LEASE_S) -> None:
        self._redis: Any = redis
        self._key = Keys().state(owner, "lease")
        self._token = secrets.token_hex(8)
        self._lease_ms = max(1, round(lease_s * 1000))
        self._renew = redis.register_script(_RENEW)
        self._release = redis.register_script(_RELEASE)

    @asynccontextmanager
    async def held(self, *, wait: bool, renewed: Callable[[], Awaitable[None]]) -> AsyncIterator[bool]:
        """Hold it until the end of the block.

        Args:
            wait: for whoever holds it; the block is given False otherwise.
            renewed: done whenever it is renewed.

        Raises: BusError: Redis is away.
        """
        while not await self._take():
            if not wait:
                yield False
                return
            # The end of another process cannot be awaited.
            await asyncio.sleep(_LOOK_S)
        renewing = asyncio.create_task(self._keep(renewed), name="erasure lease")
        try:
            yield True
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
            with contextlib.suppress(BusError), bus_errors("the erasure could not be ended"):
                await self._release(keys=[self._key], args=[self._token])

    async def check(self) -> None:
        """Make sure that nobody else has taken it since.

        Raises: ErasureTaken: somebody has. BusError: Redis is away.
        """
        with bus_errors("the erasure could not be renewed"):
            if not await self._renew(keys=[self._key], args=[self._token, self._lease_ms]):
                raise ErasureTaken("another process has gone on with the erasure; its receipt will tell")

    async def write(self, fill: Callable[[Any], None]) -> None:
        """Write something in the same step that sees the lease still held.

        Args:
            fill: puts commands into a pipeline.

        Raises: ErasureTaken, BusError: nothing was written.
        """
        with bus_errors("the erasure could not be noted"):
            async with self._redis.pipeline(transaction=True) as pipe:
                await pipe.watch(self._key)
                is_mine = await pipe.get(self._key) == self._token.encode()
                pipe.multi()
                fill(pipe)
                try:
                    if is_mine:
                        await pipe.execute()
                        return
                except redis.exceptions.WatchError:
                    # Renewed, or taken by another, since it was looked at.
                    is_mine = True
        await self.check()
        if is_mine:
            await self.write(fill)

    async def _take(self) -> bool:
        with bus_errors("the erasure could not begin"):
            return bool(await self._redis.set(self._key, self._token, px=self._lease_ms, nx=True))

    async def _keep(self, renewed: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self._lease_ms / 3000)
            try:
                await self.check()
                await renewed()
            except ErasureTaken:
                # Whoever erases notices at their next step.
                return
            except BusError as error:
                log.warning("erasure_not_renewed", error=str(error))
