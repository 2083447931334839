"""What a restore refuses: a hub that runs, what is there already, and whatever no hub has written."""

import asyncio
import os
import sqlite3
import struct
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from hub.app.restore import NotEmpty, restore, verify
from hub.backup import files
from hub.backup.manifest import ABOUT, MANIFEST, Manifest
from hub.backup.sealed import BackupRefused, SealedReader, SealedWriter
from hub.backup.unfinished import mark_folder, refuse_half_restored
from hub.bus.connection import connect
from hub.bus.heartbeat import beat
from hub.bus.keys import Keys
from hub.errors import HubError, SettingsError
from tests.hub.backup.backups import backup, elsewhere, living, restored, silent
from tests.hub.erasure.world import ANA, World
from tests.servers.redis import RedisServer


async def test_a_running_hub_is_not_written_over(
    world: World, tmp_path: Path, other_redis: RedisServer
) -> None:
    """Neither the folder of one, nor a Redis where a process of one lives."""
    path = await backup(world.settings, tmp_path)
    other = elsewhere(world.settings, tmp_path / "other", other_redis)
    other.data.mkdir()
    with files.hub_lock(other.data), pytest.raises(HubError, match="a hub is running"):
        await restored(other, path, force=True)
    client = connect(other_redis.url)
    async with living(client, "engine"):
        with pytest.raises(HubError, match="engine"):
            await restored(other, path, force=True)
    await client.aclose()


async def test_a_hub_that_starts_while_a_backup_is_unpacked_keeps_what_it_has(
    world: World, tmp_path: Path, other_redis: RedisServer
) -> None:
    """Large ones take minutes; nothing is changed then, and no mark is left behind."""
    path = await backup(world.settings, tmp_path)
    other, client = elsewhere(world.settings, tmp_path / "other", other_redis), connect(other_redis.url)
    kept: Any = client
    loop, stop, begun = asyncio.get_running_loop(), asyncio.Event(), list[asyncio.Future[None]]()

    def start_hub(*_: object) -> None:
        if not begun:
            begun.append(asyncio.ensure_future(beat(client, "hub", stop), loop=loop))

    def step(what: str, done: int, size: int) -> None:
        if what == "redis/keys":
            loop.call_soon_threadsafe(start_hub)
            time.sleep(0.2)

    await kept.set(Keys().state("test", "kept"), "1")
    with pytest.raises(HubError, match=r"\(hub\) is running"):
        await restore(other, path, force=True, erased_lists=(), step=step)

    assert await kept.get(Keys().state("test", "kept")) == b"1"
    stop.set()
    await begun[0]
    await refuse_half_restored(other.data, client)
    await client.aclose()


async def test_the_folder_of_another_user_is_left_alone(
    world: World, tmp_path: Path, other_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root somebody would write files that the hub cannot read."""
    path = await backup(world.settings, tmp_path)
    other = elsewhere(world.settings, tmp_path / "other", other_redis)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)

    with pytest.raises(HubError, match="sudo -u"):
        await backup(world.settings, tmp_path)
    with pytest.raises(HubError, match="sudo -u"):
        await restored(other, path)


async def test_what_is_there_is_not_written_over_without_a_word(
    world: World, data: Path, tmp_path: Path, other_redis: RedisServer
) -> None:
    """A data folder, or a Redis, that holds something; with --force it goes."""
    await world.live_through(ANA)
    path = await backup(world.settings, tmp_path)
    with pytest.raises(NotEmpty, match="Redis"):
        await restored(world.settings, path)
    other = elsewhere(world.settings, tmp_path / "other", other_redis)
    other.data.mkdir()
    (other.data / "stray.txt").write_text("mine")
    with pytest.raises(NotEmpty, match=r"stray\.txt"):
        await restored(other, path)
    assert (other.data / "stray.txt").read_text() == "mine"

    await restored(other, path, force=True)

    assert not (other.data / "stray.txt").exists()


async def test_other_numbers_of_shards_are_refused(
    world: World, tmp_path: Path, other_redis: RedisServer
) -> None:
    """A conversation would be looked for where it is not."""
    path = await backup(world.settings, tmp_path)
    other = elsewhere(world.settings, tmp_path / "other", other_redis)
    other = other.model_copy(update={"bus": other.bus.model_copy(update={"shards": 4})})

    with pytest.raises(SettingsError, match=r"bus\.shards = 1"):
        await restored(other, path)


def _rewritten(path: Path, target: Path, changes: Mapping[str, bytes | None]) -> Path:
    """Write a backup again with other parts, its sums and seal put right: what somebody with ill will would hand over."""
    parts = {name: content.read() for name, _, content in SealedReader(path).parts()}
    manifest = Manifest.model_validate_json(parts.pop(MANIFEST))
    with target.open("wb") as file:
        writer = SealedWriter(file)
        sums = {}
        for name, old in (parts | dict.fromkeys(changes.keys() - parts.keys(), b"")).items():
            content = changes.get(name, old)
            if content is not None:
                sums[name] = {"size": len(content), "sha256": writer.add_bytes(name, content)}
        sums.pop(ABOUT)
        fields = manifest.model_dump(mode="json") | {"parts": sums}
        writer.add_bytes(MANIFEST, Manifest.model_validate(fields).model_dump_json().encode())
        writer.close()
    return target


async def test_what_no_hub_writes_is_refused_and_changes_nothing(
    world: World, tmp_path: Path, other_redis: RedisServer
) -> None:
    """Whoever made the archive: a newer program, foreign keys, files that a program would obey, a doctored database."""
    await world.live_through(ANA)
    whole = await backup(world.settings, tmp_path)
    parts = {name: content.read() for name, _, content in SealedReader(whole).parts()}
    about, keys = parts[ABOUT], parts["redis/keys"]
    doctored = tmp_path / "doctored.db"
    doctored.write_bytes(parts["database/hubbub.db"])
    with closing(sqlite3.connect(doctored)) as database:
        database.execute("CREATE TRIGGER x AFTER INSERT ON chunks BEGIN DELETE FROM documents; END")
        database.commit()
    foreign = struct.pack(">IqI", 9, -1, 1) + b"session:1" + b"x"
    endless = struct.pack(">IqI", 9, -1, 1 << 31) + b"session:1"
    cases: list[tuple[dict[str, bytes | None], str]] = [
        ({ABOUT: about.replace(b'"version":"', b'"version":"9')}, "update Hubbub"),
        ({ABOUT: about.replace(b'"format":1', b'"format":2')}, "update Hubbub"),
        ({ABOUT: b"[]"}, "cannot be read"),
        ({ABOUT: about.replace(b'"version":"', '"version":"9.²'.encode())}, "update Hubbub"),
        ({"redis/keys": keys[:-3]}, "middle of a key"),
        ({"redis/keys": foreign}, "which no backup holds"),
        ({"redis/keys": endless}, "larger than"),
        (
            {"redis/keys": keys[:16] + keys[16:].replace(b"hubbub:{0}", b"hubbub:{7}", 1)},
            "which no backup holds",
        ),
        ({"redis/keys": None}, "no copy of Redis"),
        ({"files/hubbub.db-wal": b"x"}, "no hub writes"),
        ({"files/redis/appendonly.aof": b"x"}, "no hub writes"),
        ({"files/restore-unfinished": b"x"}, "no hub writes"),
        ({"database/hubbub.db": doctored.read_bytes()}, "other tables"),
        ({"database/hubbub.db": b"x" * 5000}, "damaged"),
        ({"database/hubbub.db": None}, "no database"),
    ]
    for number, (changes, words) in enumerate(cases):
        path = _rewritten(whole, tmp_path / f"{number}.tar.gz", changes)
        other = elsewhere(world.settings, tmp_path / f"other{number}", other_redis)

        with pytest.raises(BackupRefused, match=words):
            await restored(other, path, force=True)

        there = sorted(entry.name for entry in other.data.iterdir() if entry.name != "hubbub.lock")
        assert there == []
    verify(whole, silent)


async def test_values_that_redis_cannot_read_are_refused_by_the_embedded_one(
    world: World, tmp_path: Path
) -> None:
    """A damaged value with a right sum of the archive, restored into a server of the hub's own; nothing takes its place."""
    await world.live_through(ANA)
    whole = await backup(world.settings, tmp_path)
    parts = {name: content.read() for name, _, content in SealedReader(whole).parts()}
    keys = parts["redis/keys"]
    path = _rewritten(whole, tmp_path / "x.tar.gz", {"redis/keys": keys[:-9] + bytes(9)})
    bus = world.settings.bus.model_copy(update={"redis_url": SecretStr("")})
    other = world.settings.model_copy(update={"data": tmp_path / "other", "bus": bus})

    with pytest.raises(BackupRefused, match="cannot read what Redis"):
        await restored(other, path)

    assert [entry.name for entry in other.data.iterdir()] == ["hubbub.lock"]


async def test_a_restore_that_broke_off_keeps_the_hub_away_until_it_is_repeated(
    world: World, tmp_path: Path, other_redis: RedisServer
) -> None:
    """Into a Redis of one's own, after some of the keys: marks stand in it and in the folder, and no --force is needed then."""
    await world.live_through(ANA)
    whole = await backup(world.settings, tmp_path)
    parts = {name: content.read() for name, _, content in SealedReader(whole).parts()}
    damaged = {"redis/keys": parts["redis/keys"][:-9] + bytes(9)}
    broken = _rewritten(whole, tmp_path / "broken.tar.gz", damaged)
    other, client = elsewhere(world.settings, tmp_path / "other", other_redis), connect(other_redis.url)
    with pytest.raises(BackupRefused, match="cannot read what Redis"):
        await restored(other, broken)
    with pytest.raises(SettingsError, match="restore has not finished"):
        await refuse_half_restored(other.data, client)
    (other.data / "restore-unfinished").unlink()
    with pytest.raises(SettingsError, match="restore into this Redis has not finished"):
        await refuse_half_restored(other.data, client)

    await restored(other, whole)

    await refuse_half_restored(other.data, client)
    await client.aclose()


async def test_no_hub_starts_on_half_a_restore(world: World, data: Path) -> None:
    """Where the mark stands, and no backup is made of it either."""
    await refuse_half_restored(data, world.redis)
    mark_folder(data)

    with pytest.raises(SettingsError, match="restore has not finished"):
        await refuse_half_restored(data, world.redis)
    with pytest.raises(SettingsError, match="restore has not finished"):
        await backup(world.settings, data)
