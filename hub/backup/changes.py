"""Hears which keys of a Redis are written while they are copied, so that writers need wait for those alone.

The server tells it itself: `CLIENT TRACKING ... BCAST PREFIX hubbub:`, made for caches of clients. Source: Redis, Client-side
caching reference, "Two connections mode" and "Broadcasting mode".
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import redis.exceptions
import structlog
from redis.maint_notifications import MaintNotificationsConfig

log = structlog.get_logger(__name__)

PREFIX = "hubbub:"
_CHANNEL = "__redis__:invalidate"
DRAIN_S = 5.0
_NO_NOTICES = MaintNotificationsConfig(enabled=False)
"""They come in RESP3 alone."""
_OF_NOTICES = frozenset({"maint_notifications_pool_handler", "oss_cluster_maint_notifications_handler"})


class ChangesMissed(redis.exceptions.RedisError):
    """What was written is not known any more: everything has to be copied while writers wait."""


class Changes:
    """The keys of one server that were written since it began to listen."""

    def __init__(self, listening: Any) -> None:
        self._listening = listening
        self._written = set[bytes]()
        self._answers: dict[bytes, asyncio.Event] = {}
        self._reading = asyncio.create_task(self._read(), name="written keys")

    def take(self) -> set[bytes]:
        """Return the keys that were written since the last call.

        Raises: ChangesMissed: the connection was lost, or the server was emptied.
        """
        if self._reading.done():
            raise ChangesMissed("the server stopped telling what is written")
        written, self._written = self._written, set()
        return written

    async def drain(self) -> None:
        """Wait until everything is known that was written before.

        Raises: ChangesMissed: the server did not answer.
        """
        mark = secrets.token_hex(8).encode()
        answered = self._answers[mark] = asyncio.Event()
        waiting = asyncio.create_task(answered.wait())
        try:
            # The answer comes by the same connection, behind what the server had to tell before.
            await self._listening.send_command("PING", mark)
            await asyncio.wait({waiting, self._reading}, timeout=DRAIN_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not answered.is_set():
            raise ChangesMissed("the server did not tell what was written")

    async def close(self) -> None:
        """Stop reading."""
        self._reading.cancel()
        await asyncio.wait({self._reading})

    async def _read(self) -> None:
        with contextlib.suppress(redis.exceptions.RedisError, OSError):
            while True:
                kind, first, *rest = await self._listening.read_response(disconnect_on_error=False)
                if kind == b"pong" and first in self._answers:
                    self._answers.pop(first).set()
                elif kind == b"message" and rest[0] is None:
                    # FLUSHALL.
                    return
                elif kind == b"message":
                    self._written.update(rest[0])


@contextlib.asynccontextmanager
async def written_keys(nodes: list[Any]) -> AsyncIterator[list[Changes]]:
    """Listen to some servers until the end of the block; gives nothing where one of them does not tell."""
    async with contextlib.AsyncExitStack() as opened:
        found = list[Changes]()
        try:
            for node in nodes:
                found.append(await opened.enter_async_context(_of(node)))
        except (redis.exceptions.RedisError, OSError) as error:
            # Hosted servers may forbid it, and proxies know nothing of it.
            log.info("redis_changes_not_told", error=str(error))
            found = []
        yield found


@contextlib.asynccontextmanager
async def _of(node: Any) -> AsyncIterator[Changes]:
    async with _connection(node) as listening, _connection(node) as tracking:
        number = await _ask(listening, "CLIENT", "ID")
        await _ask(listening, "SUBSCRIBE", _CHANNEL)
        await _ask(tracking, "CLIENT", "TRACKING", "ON", "REDIRECT", number, "BCAST", "PREFIX", PREFIX)
        changes = Changes(listening)
        try:
            yield changes
        finally:
            await changes.close()


@contextlib.asynccontextmanager
async def _connection(node: Any) -> AsyncIterator[Any]:
    """Open a connection of its own that speaks RESP2: there a subscriber's answers come in the order of the server's."""
    pool = node.connection_pool
    own = {"protocol": 2, "socket_timeout": None, "maint_notifications_config": _NO_NOTICES}
    options = {name: value for name, value in pool.connection_kwargs.items() if name not in _OF_NOTICES} | own
    connection = pool.connection_class(**options)
    await connection.connect()
    try:
        yield connection
    finally:
        await connection.disconnect(nowait=True)


async def _ask(connection: Any, *words: Any) -> Any:
    await connection.send_command(*words)
    return await asyncio.wait_for(connection.read_response(), DRAIN_S)
