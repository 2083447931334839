"""The way back: a backup becomes the data folder, the database and the Redis of a hub that does not run.

Everything is unpacked, checked and brought up beside what is there, and takes its place at the end. While that happens a
mark stands in the data folder (and in a Redis of one's own), with which no hub starts; whoever repeats the restore goes
over it.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from pydantic import SecretStr, ValidationError
from redis.asyncio import Redis

from hub.app.backup import Step
from hub.app.erasure import make_eraser, personal_stores
from hub.backup import database as sql
from hub.backup import erased, files
from hub.backup.manifest import ABOUT, FORMAT, MANIFEST, MAX_JSON_BYTES, About, Manifest, Part
from hub.backup.redis_keys import clear_keys, count_keys, load_keys, read_records
from hub.backup.sealed import CHUNK_BYTES, BackupRefused, SealedReader, sync
from hub.backup.unfinished import (
    is_folder_marked,
    is_redis_marked,
    mark_folder,
    mark_redis,
    refuse_living,
    unmark_redis,
)
from hub.bus.bus import Bus
from hub.bus.connection import bus_errors, connect
from hub.bus.embedded import EmbeddedRedis, embedded_url
from hub.bus.state import State
from hub.database import async_engine, database_url, upgrade
from hub.erasure.eraser import OWNER, RECEIPT_KEY, ErasureJob, Jobs
from hub.erasure.person import Principal
from hub.erasure.stores import Naming
from hub.errors import HubError, SettingsError
from hub.messages import utc_now
from hub.settings import BusSettings, Settings

RESERVE_BYTES = 64 << 20
"""Stays free on the disk."""


class NotEmpty(HubError):
    """Something stands where a backup is to be restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What became of a backup."""

    about: About
    manifest: Manifest
    keys: int
    """Of Redis; those whose time was over are left out."""
    erased_again: int
    """Identities of people who had been erased since."""


def verify(path: Path, step: Step) -> tuple[About, Manifest]:
    """Read a backup from end to end, and compare every part with its sum.

    Raises: BackupRefused: it is not whole, or newer than this program.
    """
    return _read(path, None, step)


def _read(path: Path, folder: Path | None, step: Step) -> tuple[About, Manifest]:
    """Read all parts, and unpack them into a folder where one is given."""
    done, size = 0, path.stat().st_size if path.exists() else 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        step("reading", done, size)

    about: About | None = None
    found = dict[str, Part]()
    manifest: Manifest | None = None
    for name, length, content in SealedReader(path, told).parts():
        if manifest is not None or (about is None) != (name == ABOUT):
            raise BackupRefused("the parts of the backup are out of order")
        if name in (ABOUT, MANIFEST):
            if length > MAX_JSON_BYTES:
                raise BackupRefused(f"{name} of the backup is larger than a hub writes it")
            text = content.read()
            if name == ABOUT:
                about = _about(text)
            else:
                manifest = _parsed(Manifest, text)
            continue
        step(name, 0, length)
        found[name] = _take(name, length, content, folder)
    if about is None or manifest is None:
        raise BackupRefused("the backup has no beginning or no end")
    if found != dict(manifest.parts):
        wrong = sorted(
            name
            for name in found.keys() | manifest.parts.keys()
            if found.get(name) != manifest.parts.get(name)
        )
        raise BackupRefused(
            f"{len(wrong)} parts of the backup are not as they were written: {', '.join(wrong[:5])}"
        )
    return about, manifest


def _about(text: bytes) -> About:
    about: About = _parsed(About, text)
    if about.format > FORMAT or _number(about.version) > _number(version("hubbub")):
        raise BackupRefused(
            f"the backup was made by Hubbub {about.version}, this is {version('hubbub')}: update Hubbub first"
        )
    return about


def _number(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isascii() and part.isdigit() else 0 for part in text[:99].split(".")[:3])


def _parsed(kind: Any, text: bytes) -> Any:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise BackupRefused(f"the backup's {kind.__name__.lower()} cannot be read") from error


def _take(name: str, length: int, content: IO[bytes], folder: Path | None) -> Part:
    digest = hashlib.sha256()
    with contextlib.ExitStack() as opened:
        target = None
        if folder is not None:
            free = shutil.disk_usage(folder).free
            if length > free - RESERVE_BYTES:
                raise BackupRefused(
                    f"{name} of the backup needs {length / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free in {folder.parent}"
                )
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            target = opened.enter_context(path.open("xb"))
        left = length
        while left and (data := content.read(min(CHUNK_BYTES, left))):
            digest.update(data)
            if target is not None:
                target.write(data)
            left -= len(data)
        if left:
            raise BackupRefused(f"{name} of the backup ends too soon")
        if target is not None:
            target.flush()
            os.fsync(target.fileno())
    return Part(size=length, sha256=digest.hexdigest())


async def restore(
    settings: Settings, path: Path, *, force: bool, erased_lists: Sequence[Path], step: Step
) -> Restored:
    """Put a backup into the place of what is there.

    Args:
        force: also where something is there: it is removed.
        erased_lists: lists of erasures from elsewhere, beside the one of the data folder.

    Raises:
        NotEmpty: something is there. BackupRefused: the backup is damaged or newer. HubError: a hub runs, or a store
        cannot be written. Nothing was changed, or the mark stands and the restore is to be repeated.
    """
    data = settings.data.expanduser().resolve()
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.refuse_foreign_folder(data)
        with files.hub_lock(data), files.own_folder(data, files.STAGE_PREFIX) as stage:
            restoring = _Restoring(settings, data, stage, step)
            return await restoring.run(path, force=force, erased_lists=erased_lists)
    except OSError as error:
        raise HubError(f"the backup cannot be restored: {error.strerror or error}") from error


class _Restoring:
    """One restore under way."""

    def __init__(self, settings: Settings, data: Path, stage: Path, step: Step) -> None:
        self._settings = settings
        self._data = data
        self._parts = stage / "parts"
        self._new = stage / "new"
        self._old = stage / "old"
        self._keys = self._parts / "redis" / "keys"
        self._step = step
        self._url = settings.bus.redis_url.get_secret_value()
        self._database_url = database_url(settings)
        self._is_sqlite = sql.kind_of(self._database_url) == "sqlite"
        staged: dict[str, Any] = {"data": self._new}
        if self._is_sqlite:
            staged["database_url"] = SecretStr("")
        self._staged = settings.model_copy(update=staged)

    async def run(self, path: Path, *, force: bool, erased_lists: Sequence[Path]) -> Restored:
        await self._refuse_what_is_there(force=force)
        for folder in (self._parts, self._new, self._old):
            folder.mkdir(mode=0o700)
        about, manifest = await asyncio.to_thread(_read, path, self._parts, self._step)
        self._refuse_what_does_not_fit(about)
        await asyncio.to_thread(self._arrange, manifest)
        notes = self._notes(erased_lists)
        if self._url:
            await self._claim_redis()
        if self._url or not self._is_sqlite:
            # From here on more than this folder changes.
            mark_folder(self._data)
        if not self._is_sqlite:
            self._step("database", 0, 0)
            await asyncio.to_thread(sql.fill_postgresql, self._database_url, manifest.database, self._table)
        async with self._redis() as (client, url):
            if self._url:
                await clear_keys(client)
            keys = await self._load(client, about)
            again = await self._erase_again(client, url, notes)
            if self._url:
                # The folder's own mark is what keeps a hub away from now on.
                await unmark_redis(client)
        shutil.rmtree(self._parts)
        await asyncio.to_thread(self._swap, manifest)
        return Restored(about=about, manifest=manifest, keys=keys, erased_again=again)

    async def _refuse_what_is_there(self, *, force: bool) -> None:
        may_go = force or is_folder_marked(self._data)
        if self._url:
            client = connect(self._url, connections=2)
            try:
                await refuse_living(client)
                may_go = may_go or await is_redis_marked(client)
                is_free = may_go or not await count_keys(client)
            finally:
                await client.aclose()
            if not is_free:
                raise NotEmpty("the Redis of the settings holds a hub already; --force removes it")
        if may_go:
            return
        if there := sorted(entry.name for entry in self._data.iterdir() if not files.is_passing(entry.name)):
            raise NotEmpty(
                f"the data folder {self._data} is not empty ({there[0]}); --force removes what is there"
            )
        if not await asyncio.to_thread(sql.is_empty, self._database_url):
            raise NotEmpty("the database of the settings holds a hub already; --force removes it")

    def _refuse_what_does_not_fit(self, about: About) -> None:
        here = "sqlite" if self._is_sqlite else "postgresql"
        if about.database != here:
            raise SettingsError(
                f"the backup holds a database of {about.database}, and database_url names one of {here}: set it to one of the same kind"
            )
        if about.shards != self._settings.bus.shards:
            raise SettingsError(f"the backup has bus.shards = {about.shards}: set it to the same number")
        if not self._keys.is_file():
            raise BackupRefused("the backup holds no copy of Redis")
        with self._keys.open("rb") as file:
            for _ in read_records(file, shards=about.shards):
                # All of them are looked at before anything is changed.
                pass

    def _arrange(self, manifest: Manifest) -> None:
        """Put files, index and SQLite's file where a hub looks for them."""
        if (self._parts / "files").is_dir():
            for entry in (self._parts / "files").iterdir():
                if files.is_passing(entry.name) or entry.name in files.MADE_ANEW - {files.LOG}:
                    raise BackupRefused(
                        f"the backup holds the file {entry.name[:100]!r}, which no hub writes"
                    )
                entry.rename(self._new / entry.name)
        if (self._parts / files.INDEX).is_dir():
            (self._parts / files.INDEX).rename(self._new / files.INDEX)
        if self._is_sqlite:
            file = self._parts / sql.FOLDER / sql.FILE
            if not file.is_file():
                raise BackupRefused("the backup holds no database")
            sql.check_sqlite(file, manifest.database)
            file.rename(self._new / files.DATABASE)

    def _table(self, name: str) -> IO[bytes]:
        return (self._parts / sql.FOLDER / name).open("rb")

    def _notes(self, lists: Sequence[Path]) -> list[bytes]:
        """Put the lists of erasures together, and return what the backup did not know."""
        known = erased.read_file(self._new / erased.NAME)
        more = erased.read_file(self._data / erased.NAME)
        for path in lists:
            if not path.is_file():
                raise HubError(f"there is no list of erasures {path}")
            more |= erased.read_file(path)
        (self._new / erased.NAME).write_bytes(b"".join((known | more).values()))
        return [line for name, line in more.items() if name not in known]

    @contextlib.asynccontextmanager
    async def _redis(self) -> AsyncIterator[tuple[Redis, str]]:
        """Open the Redis that is to be filled: that of the settings, or one that writes the files of the embedded one."""
        async with contextlib.AsyncExitStack() as opened:
            url = self._url
            if not url:
                # A write at a time need not reach the disk here: it does at the end, when the server stops.
                bus = BusSettings(redis_server=self._settings.bus.redis_server, appendfsync="everysec")
                server = EmbeddedRedis(bus, self._new)
                opened.push_async_callback(server.stop)
                await server.start()
                url = embedded_url(self._new)
            client = connect(url, connections=8)
            opened.push_async_callback(client.aclose)
            if not self._url:
                # Values that would crash the server are refused.
                untyped: Any = client
                with bus_errors("Redis could not be made ready"):
                    await untyped.config_set("sanitize-dump-payload", "yes")
            yield client, url

    async def _claim_redis(self) -> None:
        """Mark the Redis of the settings. Unpacking took its time: whoever has started meanwhile keeps what there is."""
        client = connect(self._url, connections=2)
        try:
            was_marked = await is_redis_marked(client)
            await mark_redis(client)
            try:
                await refuse_living(client)
            except HubError:
                if not was_marked:
                    await unmark_redis(client)
                raise
        finally:
            await client.aclose()

    async def _load(self, client: Redis, about: About) -> int:
        self._step("Redis", 0, 0)
        with self._keys.open("rb") as file:
            records = read_records(file, shards=about.shards)
            return await load_keys(client, records, shards=about.shards, from_version=about.redis_version)

    async def _erase_again(self, client: Redis, url: str, notes: Sequence[bytes]) -> int:
        """Erase who was erased after the backup; returns of how many identities something was there."""
        if not notes:
            return 0
        key = await State(client, OWNER).shared_secret(RECEIPT_KEY)
        address, shards = database_url(self._staged), self._settings.bus.shards
        await asyncio.to_thread(upgrade, address)
        engine = async_engine(address)
        bus = Bus(url, self._settings.bus)
        try:
            people: list[AsyncIterator[Principal | str]] = [
                erased.known_to_redis(client, shards=shards),
                erased.known_to_archive(engine),
            ]
            stores = personal_stores(self._staged, bus)
            people += [store.everybody() for store in stores if isinstance(store, Naming)]
            person = await erased.people_again(people, key=key, digests=erased.digests_in(notes))
            if person is None:
                return 0
            self._step("erasing again", 0, 0)
            await Jobs(client).add(ErasureJob(id=os.urandom(8).hex(), begun_at=utc_now(), person=person))
            await make_eraser(self._staged, bus).resume()
            return len(person.marks)
        finally:
            await bus.close()
            await engine.dispose()

    def _swap(self, manifest: Manifest) -> None:
        """Put the new in the place of the old; a kill in between leaves the mark, and the restore is repeated."""
        _sync_tree(self._new)
        mark_folder(self._data)
        # In one step: no backup holds what was noted since, and a restore that is repeated reads it from here.
        (self._new / erased.NAME).rename(self._data / erased.NAME)
        has_models = any(name.startswith(f"files/{files.MODELS}/") for name in manifest.parts)
        stays = {files.UNFINISHED, erased.NAME} | (set() if has_models else {files.MODELS})
        for entry in sorted(self._data.iterdir()):
            if not files.is_passing(entry.name) and entry.name not in stays:
                entry.rename(self._old / entry.name)
        for entry in sorted(self._new.iterdir()):
            if not files.is_lock(entry.name):
                entry.rename(self._data / entry.name)
        if self._is_sqlite and (path := sql.path_of(self._database_url)) != self._data / files.DATABASE:
            # A file that database_url names.
            for ending in ("-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            shutil.move(self._data / files.DATABASE, path)
            sync(path)
        sync(self._data)
        (self._data / files.UNFINISHED).unlink()
        sync(self._data)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir() or path.is_file():
            sync(path)
