"""What differs where Redis is more than one server: which keys lie together, how to walk over all, and who they are."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis.exceptions
from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from hub.bus.cluster import FIRST_SHARD, ClusterRedis, asked_commands, slot_of
from hub.bus.connection import NotCopied, bus_errors
from hub.bus.sentinel import SentinelRedis

CONFIRM_MS = 1000
"""How long replicas have to confirm a write before it is asked for again."""


def groups_of(client: Redis, keys: Iterable[str]) -> list[list[str]]:
    """Put keys together that one command may name: all of them, or on a Cluster those of each slot."""
    if not isinstance(client, ClusterRedis):
        return [list(keys)]
    by_slot: dict[int, list[str]] = {}
    for key in keys:
        by_slot.setdefault(slot_of(key), []).append(key)
    return list(by_slot.values())


async def read_on(
    reader: Redis, positions: Mapping[str, str], *, count: int, block_s: float = 0
) -> list[tuple[bytes, Any]]:
    """Read what comes next on streams, wherever they lie.

    Args:
        reader: a client for blocking reads.
        positions: the last entry known of each stream, by its key.
        count: entries of each stream at most.
        block_s: how long to wait while there are none.

    Returns: the streams with their entries, of which one that was written anew may have none.
    Raises: BusError: Redis is away.
    """
    client: Any = reader
    block_ms = int(block_s * 1000) or None
    with bus_errors("the streams could not be read"):
        answers = await asyncio.gather(
            *(
                client.xread({stream: positions[stream] for stream in streams}, count=count, block=block_ms)
                for streams in groups_of(reader, positions)
            )
        )
    return [found for answer in answers for found in answer or []]


async def scan_pages(client: Redis, pattern: str, *, count: int) -> AsyncIterator[list[bytes]]:
    """Give all keys of a pattern, page by page; one may come twice.

    On a Cluster every node is asked, first the one that owns the slot of the pattern: a key that moves meanwhile goes
    from there to a node that is asked later.

    Raises: BusError: a server is away; what was given is not all.
    """
    with bus_errors("Redis' keys could not be listed"):
        nodes = await _in_order(client, pattern)
    for node in nodes:
        untyped: Any = node
        cursor = 0
        while True:
            with bus_errors("Redis' keys could not be listed"):
                cursor, found = await untyped.scan(cursor, match=pattern, count=count)
            if found:
                yield found
            if not cursor:
                break


async def _in_order(client: Redis, pattern: str) -> list[Redis]:
    if not isinstance(client, ClusterRedis):
        return [client]
    masters = list((await client.masters()).values())
    first = await client.owner(slot_of(pattern))
    return [first, *(node for node in masters if node is not first)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server that keeps what the hub stores."""

    name: str
    """Its address; empty where there is but one."""
    client: Redis
    is_replica: bool = False


@contextlib.asynccontextmanager
async def servers(client: Redis) -> AsyncIterator[list[Server]]:
    """Give every server behind a client, masters first.

    Raises: BusError: nobody tells who they are.
    """
    with bus_errors("the servers could not be listed"):
        if isinstance(client, ClusterRedis):
            masters = await client.masters()
            replicas = await client.replicas()
        else:
            masters = {"": client}
            replicas = await client.replicas() if isinstance(client, SentinelRedis) else {}
    found = [Server(name=name, client=one) for name, one in masters.items()]
    found += [Server(name=name, client=one, is_replica=True) for name, one in replicas.items()]
    try:
        yield found
    finally:
        if not isinstance(client, ClusterRedis):
            for one in replicas.values():
                await one.aclose()


async def run_confirmed(
    client: Redis, script: AsyncScript, keys: Sequence[str], arguments: Sequence[Any], *, replicas: int
) -> Any:
    """Run a script, and return once so many replicas have what it wrote, and all that was written before.

    Raises: NotCopied: not within CONFIRM_MS; it is written all the same.
    """

    async def work(node: Redis, asking: bool) -> Any:
        try:
            return await _with_wait(node, ("EVALSHA", script.sha), asking)
        except redis.exceptions.NoScriptError:
            return await _with_wait(node, ("EVAL", script.script), asking)

    async def _with_wait(node: Redis, how: tuple[str, Any], asking: bool) -> Any:
        # On one connection: WAIT is about what that connection has written.
        commands: list[Any] = [
            ((*how, len(keys), *keys, *arguments), {}),
            (("WAIT", replicas, CONFIRM_MS), {}),
        ]
        if asking:
            answer, copies = await asked_commands(node, commands)
        else:
            pipe: Any = node.pipeline(transaction=False)
            for args, options in commands:
                pipe.execute_command(*args, **options)
            answer, copies = await pipe.execute(raise_on_error=False)
        for said in (answer, copies):
            if isinstance(said, Exception):
                raise said
        if copies < replicas:
            raise NotCopied(f"{copies} of {replicas} replicas have confirmed it")
        return answer

    if isinstance(client, ClusterRedis):
        return await client.routed(slot_of(keys[0]) if keys else FIRST_SHARD, work)
    return await work(client, False)
