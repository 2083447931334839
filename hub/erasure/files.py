"""Files that hold what people said: the interaction log, and those in which Redis keeps what was removed."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import redis.exceptions
import structlog
from filelock import AsyncFileLock
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.nodes import Server, servers
from hub.erasure.person import Person, mentions
from hub.errors import BusError, HubError
from hub.interactions import (
    LOCK_TIMEOUT_S,
    interaction_files,
    interaction_lock,
    open_interactions,
    rewrite,
)

log = structlog.get_logger(__name__)

REWRITE_TIMEOUT_S = 600.0
_LOOK_S = 0.05
_REFUSED = (redis.exceptions.NoPermissionError, redis.exceptions.ResponseError)


class FilesNotRewritten(HubError):
    """What was removed may still lie in a file; repeating is safe."""


class InteractionStore:
    """`log.jsonl` and what it was continued from: lines of the person's conversations, and of a group those they asked."""

    name = "interaction_log"

    def __init__(self, path: Path) -> None:
        self._path = path

    async def erase(self, person: Person) -> int:
        """Write the files anew without them, byte for byte otherwise."""
        if not interaction_files(self._path):
            return 0
        try:
            async with AsyncFileLock(interaction_lock(self._path), timeout=LOCK_TIMEOUT_S):
                return await asyncio.to_thread(self._rewrite, person)
        except OSError as error:
            raise FilesNotRewritten(f"{self._path.name} cannot be written anew: {error}") from error

    async def holds(self, person: Person) -> int:
        """Count the lines."""
        with ExitStack() as opened:
            files = await open_interactions(self._path, opened)
            return await asyncio.to_thread(
                lambda: sum(_is_theirs(person, line) for file in files for line in file)
            )

    def _rewrite(self, person: Person) -> int:
        files = interaction_files(self._path)
        removed = sum(rewrite(file, lambda line: not _is_theirs(person, line)) for file in files)
        # A kill may have left such a file of an earlier attempt.
        for left in self._path.parent.glob(".log-*.jsonl"):
            left.unlink(missing_ok=True)
        return removed


class RedisFiles:
    """The append-only files and snapshots, which keep what was deleted until they are written anew: those of every
    server, replicas included.

    Args:
        timeout_s: for each server to write them.
    """

    name = "redis_files"

    def __init__(self, client: Redis, *, timeout_s: float = REWRITE_TIMEOUT_S) -> None:
        self._redis = client
        self._timeout_s = timeout_s

    async def compact(self) -> None:
        """Write the files anew, and empty the logs of slow commands, which hold their arguments.

        Raises: FilesNotRewritten: a server did not do it in time, or may not. BusError: one is away.
        """
        async with servers(self._redis) as found:
            masters = [server for server in found if not server.is_replica]
            for server in found:
                await _ServerFiles(server, masters, timeout_s=self._timeout_s).compact()


class _ServerFiles:
    """The files of one server.

    Args:
        masters: one of which it copies, where it is a replica.
    """

    def __init__(self, server: Server, masters: Sequence[Server], *, timeout_s: float) -> None:
        self._redis: Any = server.client
        self._server = server
        self._masters = masters
        self._timeout_s = timeout_s
        self._name = f"Redis {server.name}".rstrip()

    async def compact(self) -> None:
        """Write them anew."""
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._server.is_replica:
                    await self._catch_up()
                await self._rewrite()
        except TimeoutError:
            raise FilesNotRewritten(
                f"{self._name} did not write its files anew within {self._timeout_s:.0f} s"
            ) from None

    async def _catch_up(self) -> None:
        """Wait until a replica has all that its master has deleted."""
        told = await self._info("replication")
        copied = f"{told.get('master_host')}:{told.get('master_port')}"
        named = [server for server in self._masters if server.name in ("", copied)]
        if not named:
            raise FilesNotRewritten(
                f"{self._name} copies {copied}, which is no master; repeat it a little later"
            )
        with bus_errors("a master could not be asked how far it is"):
            master: Any = await named[0].client.info("replication")
        while int(told.get("slave_repl_offset", 0)) < int(master["master_repl_offset"]):
            await asyncio.sleep(_LOOK_S)
            told = await self._info("replication")

    async def _rewrite(self) -> None:
        info = await self._info()
        if int(info.get("aof_enabled", 0)):
            # One that runs already may have begun before the last deletion: it has to end first.
            await self._wait("aof_rewrite_in_progress", "rdb_bgsave_in_progress")
            await self._command("BGREWRITEAOF")
            info = await self._wait(
                "aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress"
            )
            _check(info, "aof_last_bgrewrite_status")
        if await self._has_snapshot(info):
            await self._command("BGSAVE")
            _check(await self._wait("rdb_bgsave_in_progress"), "rdb_last_bgsave_status")
        try:
            await self._redis.execute_command("SLOWLOG", "RESET")
        except _REFUSED as error:
            log.warning("redis_slowlog_not_emptied", error=str(error))

    async def _has_snapshot(self, info: dict[str, Any]) -> bool:
        """Tell whether the server writes snapshots; where it does not say, it may."""
        try:
            config = await self._redis.config_get("save")
        except _REFUSED:
            return True
        return bool(config.get("save", "")) or int(info.get("rdb_saves", 0)) > 0

    async def _command(self, name: str) -> None:
        try:
            with bus_errors("Redis' files could not be written anew"):
                await self._redis.execute_command(name)
        except BusError as error:
            if "in progress" not in str(error) and "scheduled" not in str(error):
                raise FilesNotRewritten(f"{self._name} refuses {name}: {error}") from error

    async def _wait(self, *fields: str) -> dict[str, Any]:
        while True:
            info = await self._info()
            if not any(int(info.get(field, 0)) for field in fields):
                return info
            await asyncio.sleep(_LOOK_S)

    async def _info(self, section: str = "persistence") -> dict[str, Any]:
        with bus_errors(f"{self._name} could not be asked for its files"):
            info: dict[str, Any] = await self._redis.info(section)
        return info


def _check(info: dict[str, Any], field: str) -> None:
    if info.get(field, "ok") != "ok":
        raise FilesNotRewritten(f"Redis could not write its files anew ({field}: {info[field]})")


def _is_theirs(person: Person, line: bytes) -> bool:
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        # A kill in the middle of writing has left half a line, and the next one may stand behind it.
        return mentions(person, line)
    return (
        said.get("conversation") in person.conversations
        or said.get("turn") in person.turns
        or said.get("who") in person.marks
    )
