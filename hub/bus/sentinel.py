"""A client of the master that sentinels name: after a failover its next connections go to the new one."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from hub.bus.own_connection import make_own
from hub.redis_address import RedisAddress

ASK_TIMEOUT_S = 2.0
"""For one sentinel; the next one is asked then."""


class _MasterPool(SentinelConnectionPool):
    """Connections to the master; says what is wrong where there is none.

    redis-py lets every connection ask the sentinels for itself, and forgets one of them when two find at the same
    time that it does not know: here one asks for all that wait. It closes idle connections when the master has changed, and
    whoever takes one at that moment loses what it opens in its place: here each is closed by who takes it or gives it back.
    """

    _asking: "asyncio.Task[Any] | None" = None

    async def get_master_address(self) -> Any:
        """Ask the sentinels who is master."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="sentinels")
            # Read here for the case that everybody who waits is cancelled.
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Any:
        try:
            address = await self.sentinel_manager.discover_master(self.service_name)
        except MasterNotFoundError:
            reason = await _why_no_master(self.sentinel_manager, self.service_name)
            raise MasterNotFoundError(reason) from None
        if address != self.master_address:
            self.master_address = address
            known: list[Any] = [*self._available_connections, *self._in_use_connections]
            for connection in known:
                if connection.is_connected and (connection.host, connection.port) != address:
                    connection.mark_for_reconnect()
        return address

    async def ensure_connection(self, connection: Any) -> None:
        """Connect to whoever is master now."""
        if connection.should_reconnect():
            await connection.disconnect()
        await super().ensure_connection(connection)

    async def stop_asking(self) -> None:
        """End what asks the sentinels just now."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])


class _WaitingMasterPool(_MasterPool, BlockingConnectionPool):
    """Lets a command wait for a free connection."""


class SentinelRedis(Redis):
    """The master behind the interface of one Redis."""

    sentinels: list[Any]
    master: str
    is_tls: bool
    options: Mapping[str, Any]
    """Of the connections to every server."""

    async def replicas(self) -> dict[str, Redis]:
        """Return clients of all replicas the sentinels know, by their addresses; whoever asks closes them."""
        for sentinel in self.sentinels:
            try:
                known = await sentinel.sentinel_slaves(self.master)
                break
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                continue
        else:
            raise redis.exceptions.ConnectionError(f"none of the {len(self.sentinels)} sentinels answers")
        return {f"{one['ip']}:{one['port']}": self._client(one["ip"], one["port"]) for one in known}

    def _client(self, host: str, port: int) -> Redis:
        client = Redis(host=host, port=port, ssl=self.is_tls, **self.options)
        make_own(client.connection_pool)
        return client

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close the connections to the master and to the sentinels."""
        if isinstance(self.connection_pool, _MasterPool):
            await self.connection_pool.stop_asking()
        await super().aclose(close_connection_pool)
        for sentinel in self.sentinels:
            await sentinel.aclose()


def open_master(
    address: RedisAddress, *, waits: bool, options: Mapping[str, Any], **pool_options: Any
) -> SentinelRedis:
    """Open a client of the master.

    Args:
        waits: for a free connection, rather than refuse.
        options: of the connections.
    """
    connection = {**options, **address.options}
    sentinel_options: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": ASK_TIMEOUT_S,
        "socket_connect_timeout": ASK_TIMEOUT_S,
        "ssl": address.tls,
        **address.sentinel_options,
    }
    make: Any = Sentinel
    sentinel = make(address.nodes, sentinel_kwargs=sentinel_options)
    pool = _WaitingMasterPool if waits else _MasterPool
    made = sentinel.master_for(
        address.master,
        redis_class=SentinelRedis,
        connection_pool_class=pool,
        ssl=address.tls,
        **connection,
        **pool_options,
    )
    client = cast("SentinelRedis", made)
    client.sentinels, client.master = sentinel.sentinels, address.master
    client.is_tls, client.options = address.tls, connection
    return client


async def _why_no_master(sentinel: Any, master: str) -> str:
    async def ask(one: Any) -> Any:
        try:
            return await one.sentinel_masters()
        except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
            return error

    answers = await asyncio.gather(*(ask(one) for one in sentinel.sentinels))
    told = [answer for answer in answers if not isinstance(answer, Exception)]
    if not told:
        return f"none of the {len(answers)} sentinels answers; the last said: {answers[-1]}"
    if master in (names := sorted({name for one in told for name in one})):
        return f"the master {master!r} is down, and no other has taken over yet"
    return f"the sentinels know no master {master!r}, but: {', '.join(names) or 'none'}"
