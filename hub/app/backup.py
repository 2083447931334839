"""Puts a backup together: files first, then the vectors, then the database, and Redis last, which is the cut.

The order is what makes them agree. The archive in the database is a projection of Redis' events with a position: a copy
that is older than that of Redis catches up, a younger one would tell of turns that Redis has yet to answer. The vectors are
made from the database: an index that is older than it is brought up to date when it is opened. No erasure runs meanwhile.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from redis.asyncio import Redis

from hub.backup import database as sql
from hub.backup import files
from hub.backup.manifest import ABOUT, FORMAT, MANIFEST, About, Database, Manifest, Part
from hub.backup.redis_keys import PAUSE_S, Copied, copy_keys, redis_version
from hub.backup.sealed import SealedWriter, sync
from hub.backup.unfinished import refuse_half_restored_folder
from hub.bus.connection import connect
from hub.bus.embedded import EmbeddedRedis, embedded_url
from hub.bus.state import State
from hub.database import database_url
from hub.erasure.eraser import OWNER, RECEIPT_KEY
from hub.erasure.lease import ErasureLease
from hub.errors import HubError, SettingsError
from hub.messages import utc_now
from hub.settings import Settings

Step = Callable[[str, int, int], None]
"""Is told what is being copied, how many bytes of it are done, and of how many; 0 of 0 where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupOptions:
    """What a backup takes along, and how long it may let writers wait."""

    with_models: bool = False
    longest_pause_s: float = PAUSE_S


async def make_backup(settings: Settings, file: IO[bytes], options: BackupOptions, step: Step) -> Manifest:
    """Write a backup of everything a hub keeps, whether it runs or not.

    Raises: HubError: a store cannot be read, or another process erases and does not end. OSError: something cannot be written.
    """
    data = settings.data.expanduser().resolve()
    if not data.is_dir():
        raise SettingsError(f"there is no data folder {settings.data}; name it with --data")
    files.refuse_foreign_folder(data)
    refuse_half_restored_folder(data)
    async with opened_redis(settings) as client:
        lease = ErasureLease(client, OWNER)
        step("waiting for an erasure or another backup", 0, 0)
        async with lease.held(wait=True, renewed=_nothing):
            # Made before the cut, so that every backup holds it: by it the list of erasures is read after a restore.
            await State(client, OWNER).shared_secret(RECEIPT_KEY)
            with files.own_folder(data, files.SPOOL_PREFIX) as spool:
                writing = _Writing(settings, data, spool, SealedWriter(file), step)
                manifest = await writing.run(client, options)
            await lease.check()
    return manifest


async def _nothing() -> None:
    pass


@contextlib.asynccontextmanager
async def opened_redis(settings: Settings) -> AsyncIterator[Redis]:
    """Open the Redis of the settings; the embedded one is started for the while where no hub runs."""
    async with contextlib.AsyncExitStack() as opened:
        url = settings.bus.redis_url.get_secret_value()
        if not url:
            url = embedded_url(settings.data)
            with contextlib.suppress(files.FolderInUse):
                opened.enter_context(files.hub_lock(settings.data.expanduser().resolve()))
                server = EmbeddedRedis(settings.bus, settings.data)
                opened.push_async_callback(server.stop)
                await server.start()
        client = connect(url, connections=8)
        opened.push_async_callback(client.aclose)
        await redis_version(client)
        yield client


class _Writing:
    """One backup being written."""

    def __init__(
        self, settings: Settings, data: Path, spool: Path, archive: SealedWriter, step: Step
    ) -> None:
        self._settings = settings
        self._data = data
        self._spool = spool
        self._archive = archive
        self._step = step
        self._parts = dict[str, Part]()
        self._left_out = list[str]()

    async def run(self, client: Redis, options: BackupOptions) -> Manifest:
        url = database_url(self._settings)
        about = About(
            format=FORMAT,
            version=version("hubbub"),
            begun_at=utc_now(),
            database="sqlite" if sql.kind_of(url) == "sqlite" else "postgresql",
            shards=self._settings.bus.shards,
            redis_version=await redis_version(client),
        )
        await asyncio.to_thread(self._archive.add_bytes, ABOUT, about.model_dump_json().encode())
        await asyncio.to_thread(self._files, options.with_models)
        await asyncio.to_thread(self._index)
        database = await asyncio.to_thread(self._database, url)
        copied = await self._redis(client, options.longest_pause_s)
        manifest = Manifest(
            cut_at=copied.cut_at,
            paused_s=copied.paused_s,
            keys=copied.keys,
            database=database,
            parts=self._parts,
            left_out=tuple(self._left_out),
        )
        await asyncio.to_thread(self._end, manifest)
        return manifest

    def _files(self, with_models: bool) -> None:
        url, skipped = database_url(self._settings), set[Path]()
        if sql.kind_of(url) == "sqlite":
            path = sql.path_of(url)
            skipped = {path.with_name(path.name + ending) for ending in ("", "-wal", "-shm", "-journal")}
        listed = files.list_files(self._data, with_models=with_models, skipped=skipped)
        self._left_out += listed.left_out
        for path in listed.files:
            self._add(f"files/{path.as_posix()}", self._data / path, may_go=True)
        outside = self._settings.models_path.expanduser()
        if outside.is_file() and outside.resolve().parent != self._data:
            # Where engine.models_file names another place: a restore puts it into the data folder.
            self._add("files/models.json", outside)
        if files.copy_log(self._data, self._spool / files.LOG):
            self._add(f"files/{files.LOG}", self._spool / files.LOG)

    def _index(self) -> None:
        folder = self._spool / files.INDEX
        for path in files.copy_index(self._data, folder):
            self._add(f"{files.INDEX}/{path.as_posix()}", folder / path)

    def _database(self, url: str) -> Database:
        self._step("database", 0, 0)
        if sql.kind_of(url) == "sqlite":
            database = sql.copy_sqlite(url, self._spool / sql.FILE)
            self._add(f"{sql.FOLDER}/{sql.FILE}", self._spool / sql.FILE)
            return database
        tables = self._spool / sql.FOLDER
        tables.mkdir()
        database = sql.copy_postgresql(url, tables)
        for name in database.tables:
            self._add(f"{sql.FOLDER}/{name}", tables / name)
        return database

    async def _redis(self, client: Redis, pause_s: float) -> Copied:
        self._step("Redis", 0, 0)
        path = self._spool / "keys"
        with path.open("wb") as file, tempfile.TemporaryFile(dir=self._spool) as scratch:
            copied = await copy_keys(client, file, scratch, pause_s=pause_s)
        await asyncio.to_thread(self._add, "redis/keys", path)
        return copied

    def _add(self, name: str, path: Path, *, may_go: bool = False) -> None:
        if name in self._parts:
            return
        try:
            file = path.open("rb")
        except FileNotFoundError:
            if may_go:
                # Removed since the folder was listed.
                return
            raise
        with file:
            size, done = os.fstat(file.fileno()).st_size, 0

            def told(count: int) -> None:
                nonlocal done
                done += count
                self._step(name, done, size)

            self._parts[name] = Part(size=size, sha256=self._archive.add(name, file, size, told))

    def _end(self, manifest: Manifest) -> None:
        self._archive.add_bytes(MANIFEST, manifest.model_dump_json(indent=1).encode())
        self._archive.close()


def _named(target: Path) -> Path:
    if target.is_dir():
        return target / f"{files.ARCHIVE_PREFIX}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.tar.gz"
    return target


async def backup_to(
    settings: Settings, target: Path, options: BackupOptions, step: Step
) -> tuple[Path, Manifest]:
    """Write a backup as a file that appears once it is whole, readable by its owner alone; returns its path.

    Args:
        target: a file, or a folder in which it gets a name of its own.

    Raises: HubError: see `make_backup`; also where the file cannot be written.
    """
    target = _named(target)
    part = target.parent / f"{files.PART_PREFIX}{secrets.token_hex(8)}"
    try:
        files.remove_left(target.parent, files.PART_PREFIX)
        # No link of anybody's is followed, and nobody else may read it.
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                manifest = await make_backup(settings, file, options, step)
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
                part.replace(target)
            sync(target.parent)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise HubError(f"the backup {target} cannot be written: {error.strerror or error}") from error
    return target, manifest


async def backup_into(settings: Settings, pipe: Any, options: BackupOptions, step: Step) -> Manifest:
    """Write a backup into a pipe.

    Raises: HubError: see `make_backup`; also where its reader has gone.
    """
    try:
        manifest = await make_backup(settings, pipe, options, step)
        pipe.flush()
    except OSError as error:
        raise HubError(f"the backup cannot be written: {error.strerror or error}") from error
    return manifest
