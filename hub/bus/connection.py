"""Clients of Redis, set so that nothing is repeated behind our back and nothing waits for ever.

redis-py repeats a command whose answer was lost, writes included, unless its retries are switched off; here the
scripts are what makes repeating safe, and `repeat` does it where it is.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from hub.bus.cluster import ClusterRedis
from hub.bus.own_connection import make_own
from hub.bus.sentinel import open_master
from hub.errors import BusError
from hub.redis_address import Node, RedisAddress, read_address

T = TypeVar("T")

BLOCK_S = 1.0
"""How long a blocking read waits, unless it is woken: one of a group is never cancelled."""

READER_CONNECTIONS = 256
"""A reader of one slot uses one; of a Cluster, one for each slot that it reads at the same time."""

_LOST = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError, TimeoutError)
_PASSING = (
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.TryAgainError,
    redis.exceptions.ClusterDownError,
)


class NotCopied(redis.exceptions.RedisError):
    """Something was written, and fewer replicas than wanted have confirmed it; repeating waits for them again."""


def connect(url: str, *, connections: int = 64) -> Redis:
    """Open a client for short commands; blocking reads need `connect_reader`.

    Raises: SettingsError: the URL has no form that `read_address` knows.
    """
    pool = {"max_connections": connections, "timeout": 10}
    return _open(read_address(url), BlockingConnectionPool, pool, socket_timeout=10)


def connect_reader(url: str) -> Redis:
    """Open a client of its own for one blocking reader, which reads over as many connections as there are slots.

    Raises: SettingsError: as `connect`.
    """
    # Below BLOCK a quiet stream would look like a dead server.
    pool = {"max_connections": READER_CONNECTIONS}
    return _open(read_address(url), ConnectionPool, pool, socket_timeout=BLOCK_S + 5)


def _open(
    address: RedisAddress, kind: type[ConnectionPool], pool: Mapping[str, Any], *, socket_timeout: float
) -> Redis:
    options: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": socket_timeout,
        "socket_connect_timeout": 3,
        "decode_responses": False,
    }
    if not address.url.startswith("unix://"):
        options["socket_keepalive"] = True
    if address.kind == "single":
        return Redis.from_pool(make_own(kind.from_url(address.url, **pool, **options)))
    if address.kind == "sentinel":
        client = open_master(address, waits=kind is BlockingConnectionPool, options=options, **pool)
        make_own(client.connection_pool)
        return client
    options |= {**pool, **address.options, "connection_class": SSLConnection if address.tls else Connection}

    def make_pool(node: Node) -> ConnectionPool:
        return make_own(kind(host=node[0], port=node[1], **options))

    return ClusterRedis(address.nodes, make_pool)


@contextlib.contextmanager
def bus_errors(doing: str) -> Iterator[None]:
    """Turn redis-py's exceptions into BusError."""
    try:
        yield
    except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
        raise BusError(f"{doing}: {error}") from error


def is_passing(error: BaseException) -> bool:
    """Tell whether the same command may succeed a little later."""
    return isinstance(error, (*_LOST, *_PASSING, NotCopied))


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
