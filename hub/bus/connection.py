"""Clients of Redis, set so that nothing is repeated behind our back and nothing waits for ever.

redis-py repeats a command whose answer was lost, writes included, unless its retries are switched off; here the
scripts are what makes repeating safe, and `repeat` does it where it is.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import redis.exceptions
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from hub.errors import BusError

T = TypeVar("T")

BLOCK_S = 1.0
"""How long a blocking read waits; a read is never cancelled, so this is also how long stopping may take."""

_LOST = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError, TimeoutError)
_PASSING = (
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.TryAgainError,
    redis.exceptions.MasterDownError,
)


class _CancellableWrites:
    """Raises a cancellation that meets the end of a write.

    redis-py writes under `asyncio.wait_for`, which up to Python 3.11 returns as if nothing had happened when it is
    cancelled just after the write is done. The reader that follows would wait on, and its loop go on for ever.
    """

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        await super().send_packed_command(*args, **options)  # type: ignore[misc]  # of the class it is mixed into
        if task and task.cancelling() > before:
            # The answer to what was written will come, and must not be taken for the next command's.
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise asyncio.CancelledError


def _make_cancellable(pool: ConnectionPool) -> None:
    kind: Any = pool.connection_class
    pool.connection_class = type(kind.__name__, (_CancellableWrites, kind), {})


def connect(url: str, *, connections: int = 64) -> Redis:
    """Open a client for short commands; blocking reads need `connect_reader`."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=10,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=10,
        socket_connect_timeout=3,
        **_keepalive(url),
        decode_responses=False,
    )
    _make_cancellable(pool)
    return Redis.from_pool(pool)


def connect_reader(url: str) -> Redis:
    """Open a client of its own for one blocking reader."""
    pool = ConnectionPool.from_url(
        url,
        max_connections=2,
        retry=Retry(NoBackoff(), 0),
        # Below BLOCK a quiet stream would look like a dead server.
        socket_timeout=BLOCK_S + 5,
        socket_connect_timeout=3,
        **_keepalive(url),
        decode_responses=False,
    )
    _make_cancellable(pool)
    return Redis.from_pool(pool)


def _keepalive(url: str) -> dict[str, bool]:
    return {} if url.startswith("unix://") else {"socket_keepalive": True}


@contextlib.contextmanager
def bus_errors(doing: str) -> Iterator[None]:
    """Turn redis-py's exceptions into BusError."""
    try:
        yield
    except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
        raise BusError(f"{doing}: {error}") from error


def is_passing(error: BaseException) -> bool:
    """Tell whether the same command may succeed a little later."""
    return isinstance(error, (*_LOST, *_PASSING))


async def repeat(call: Callable[[], Awaitable[T]], *, for_s: float) -> T:
    """Call until an answer arrives; only for commands that give the same answer when they are repeated.

    Args:
        call: makes the request anew each time.
        for_s: seconds after which the last error is raised as it is.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + for_s
    delay_s = 0.02
    while True:
        try:
            return await call()
        except Exception as error:
            if not is_passing(error) or clock() + delay_s > deadline:
                raise
        await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
        delay_s = min(delay_s * 2, 1.0)
