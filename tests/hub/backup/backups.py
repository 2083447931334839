"""Backups made and restored in a test, and what is compared afterwards."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import IO, Any

import numpy as np
from pydantic import SecretStr
from redis.asyncio import Redis

from hub.app.backup import BackupOptions, backup_to
from hub.app.restore import Restored, restore
from hub.backup import files
from hub.backup.erased import NAME as ERASED
from hub.backup.redis_keys import PASSING
from hub.bus.bus import Bus
from hub.bus.heartbeat import beat, is_alive
from hub.bus.keys import Keys
from hub.settings import Settings
from knowledge.index.faiss import FaissIndex
from tests.servers.redis import RedisServer


def silent(what: str, done: int, size: int) -> None:
    """Show nothing."""


async def backup(settings: Settings, target: Path, **options: Any) -> Path:
    """Make one; returns its file."""
    path, _ = await backup_to(settings, target, BackupOptions(**options), silent)
    return path


async def restored(
    settings: Settings, path: Path, *, force: bool = False, lists: tuple[Path, ...] = ()
) -> Restored:
    """Restore one."""
    return await restore(settings, path, force=force, erased_lists=lists, step=silent)


def elsewhere(settings: Settings, data: Path, server: RedisServer, database: str = "") -> Settings:
    """The settings of the second machine."""
    bus = settings.bus.model_copy(update={"redis_url": SecretStr(server.url)})
    changes = {"data": data, "bus": bus, "database_url": SecretStr(database)}
    return settings.model_copy(update=changes)


@asynccontextmanager
async def living(redis: Redis, role: str) -> AsyncIterator[None]:
    """Let a process of a role live in a Redis while the block runs."""
    stop = asyncio.Event()
    beating = asyncio.create_task(beat(redis, role, stop))
    async with asyncio.timeout(10):
        while not await is_alive(redis, role):
            await asyncio.sleep(0)
    try:
        yield
    finally:
        stop.set()
        await beating


async def keys_of(redis: Redis) -> dict[bytes, tuple[Any, bool]]:
    """Return every key that is to outlive a restore with its value and whether it ever goes."""
    client: Any = redis
    found = {}
    async for key in client.scan_iter("hubbub:*"):
        kind = key.split(b":")[2]
        if kind in PASSING or kind == b"fence" or key == Keys().state("erasure", "lease").encode():
            continue
        found[key] = (await _value(client, key), await client.pttl(key) >= 0)
    return found


async def _value(client: Any, key: bytes) -> Any:
    match await client.type(key):
        case b"string":
            return await client.get(key)
        case b"hash":
            return await client.hgetall(key)
        case b"list":
            return await client.lrange(key, 0, -1)
        case b"set":
            return await client.smembers(key)
        case b"zset":
            return await client.zrange(key, 0, -1, withscores=True)
    whole = await client.xinfo_stream(key, full=True)
    # The delivery of each pending entry with its consumer and its count, but not when a consumer was last seen.
    groups = [(group["name"], group["last-delivered-id"], group["pending"]) for group in whole["groups"]]
    return whole["entries"], whole["last-generated-id"], groups


def rows_of(settings: Settings) -> dict[str, list[Any]]:
    """Return every row of every table but the audit log, in which backing up and restoring are entries themselves."""
    with closing(sqlite3.connect(settings.data / "hubbub.db")) as database:
        names = [
            row[0]
            for row in database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'audit'"
            )
        ]
        rows = {name: database.execute(f"SELECT * FROM '{name}'").fetchall() for name in names}
    rows["sqlite_sequence"] = [row for row in rows["sqlite_sequence"] if row[0] != "audit"]
    return rows


def files_of(data: Path) -> dict[str, bytes]:
    """Return the files that a backup holds as they are."""
    made = {"redis", "hubbub.db", "hubbub.db-wal", "hubbub.db-shm", ERASED}
    paths = [path for path in data.rglob("*") if path.is_file() and not files.is_lock(path.name)]
    named = {str(path.relative_to(data)): path for path in paths}
    return {
        name: path.read_bytes()
        for name, path in named.items()
        if name.split("/")[0] not in made and not name.startswith(".")
    }


def furnish(settings: Settings) -> None:
    """Let every kind of file lie in the data folder."""
    data = settings.data
    (data / "models.json").write_text('{"models": {}}')
    (data / "adapters" / "support").mkdir(parents=True)
    (data / "adapters" / "support" / "adapter.gguf").write_bytes(os.urandom(2000))
    (data / "models").mkdir()
    (data / "models" / "large.gguf").write_bytes(b"fetched again")
    (data / "link").symlink_to("/etc/passwd")
    index = FaissIndex(4)
    index.add(array([1, 2]), array([[1, 0, 0, 0], [0, 1, 0, 0]], "f4"))
    index.save(data / "index", model="m", version=3)


def array(rows: Any, kind: str = "i8") -> Any:
    """Make an array of ids, or of vectors."""
    return np.array(rows, kind)


def hidden(folder: Path) -> list[str]:
    """Return what is left in a folder of work that was not finished."""
    return [path.name for path in folder.glob(".*")]


def open_full() -> IO[bytes]:
    """Open a file on a disk that is full."""
    return Path("/dev/full").open("wb", buffering=0)


def is_passing(name: str) -> bool:
    """Tell whether a key, by its name, begins anew in a restored hub."""
    return name.startswith("hubbub:") and name.partition(" ")[0].split(":")[2].encode() in PASSING


async def assert_of_one_moment(bus: Bus) -> None:
    """Make sure that no lane, stream, history, event or mark is ahead of another."""
    client: Any = bus.redis
    entries = dict(await client.xrange(Keys().stream("inbound")))
    lanes, waiting = Keys().prefix("lane") + "inbound:", set[bytes]()
    async for key in client.scan_iter(f"{lanes}*"):
        waiting |= set(await client.lrange(key, 0, -1))
    assert waiting == entries.keys(), "what waits stands in its lane and on the stream"
    answered = set[str]()
    async for conversation in bus.history.conversations():
        answered |= {turn.turn for turn in await bus.history.turns(conversation, last=10_000)}
    accepted = {await client.get(key) async for key in client.scan_iter(f"{Keys().prefix('seen')}*")}
    events = {
        fields[b"turn"] for _, fields in await client.xrange(Keys().events) if fields[b"kind"] == b"turn"
    }
    assert {turn.encode() for turn in answered} == events
    assert not answered & {entry.decode() for entry in entries}
    assert accepted == waiting | {turn.encode() for turn in answered}, "nothing that was accepted is lost"
