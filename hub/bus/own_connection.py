"""What the hub's connections to Redis do beyond those of redis-py."""

import asyncio
import weakref
from collections.abc import Callable
from typing import Any

import redis.exceptions
from redis.asyncio import ConnectionPool

from hub.egress.guard import connecting_for
from hub.egress.rule import REDIS


class _HubConnection:
    """Says what it connects for, raises a cancellation that meets the end of a write, and takes no answer for a cut.

    redis-py writes under `asyncio.wait_for`, which up to Python 3.11 returns as if nothing had happened when it is
    cancelled just after the write is done. The reader that follows would wait on, and its loop go on for ever.
    """

    pool: Callable[[], ConnectionPool | None] = staticmethod(lambda: None)
    """Returns the pool it belongs to."""

    async def _connect(self) -> None:
        with connecting_for(REDIS):
            await super()._connect()  # type: ignore[misc]  # of the class it is mixed into

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        await super().send_packed_command(*args, **options)  # type: ignore[misc]  # of the class it is mixed into
        if task and task.cancelling() > before:
            # The answer to what was written will come, and must not be taken for the next command's.
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise asyncio.CancelledError

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)  # type: ignore[misc]  # of the class it is mixed into
        except redis.exceptions.TimeoutError:
            # Cut without a word, the idle ones of its pool are dead as well: each would cost as long a wait again.
            if (pool := self.pool()) is not None:
                await pool.disconnect(inuse_connections=False)
            raise


def make_own(pool: ConnectionPool) -> ConnectionPool:
    """Let a pool make connections of the hub's kind, and return it."""
    kind: Any = pool.connection_class
    pool.connection_class = type(kind.__name__, (_HubConnection, kind), {"pool": weakref.ref(pool)})
    return pool
