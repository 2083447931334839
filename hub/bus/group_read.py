"""Reads of a consumer group that wait: never cancelled, which would strand what they were just given, but woken."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from hub.bus.cluster import ClusterRedis
from hub.bus.connection import BLOCK_S, bus_errors
from hub.errors import BusError


class GroupRead:
    """A client for waiting reads, of which one runs at a time.

    Args:
        client: a client of its own, which nothing else uses.
    """

    def __init__(self, client: Redis) -> None:
        self._client: Any = client
        # On a Cluster each node counts its connections for itself; there a read ends by itself.
        self._is_wakeable = not isinstance(client, ClusterRedis)
        self._connection = 0

    async def entries(
        self, group: str, consumer: str, streams: Mapping[str, str], *, count: int, noack: bool = False
    ) -> list[Any]:
        """Wait up to BLOCK_S for entries, or until somebody wakes it.

        Raises: redis.exceptions.RedisError, OSError: as the client raises them.
        """
        try:
            if self._is_wakeable and not self._connection:
                # Nobody else uses the client, so its next command goes over the same connection; should that have been
                # made anew in between, nobody is woken.
                self._connection = await self._client.client_id()
            answer = await self._client.xreadgroup(
                group, consumer, dict(streams), count=count, block=int(BLOCK_S * 1000), noack=noack
            )
        except BaseException:
            self._connection = 0
            raise
        return answer or []

    async def wake(self, redis: Redis) -> None:
        """Let a read that waits return at once, with nothing; one that has just begun may still wait to its end.

        Args:
            redis: for short commands.
        """
        untyped: Any = redis
        if self._connection:
            # One that is not woken ends by itself, and stopping must not wait longer for a Redis that hangs.
            with contextlib.suppress(BusError, TimeoutError), bus_errors("a waiting read could not be woken"):
                async with asyncio.timeout(BLOCK_S):
                    await untyped.client_unblock(self._connection)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
