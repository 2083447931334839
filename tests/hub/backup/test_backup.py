"""A backup made of a hub at work holds all of it as of one moment, and becomes the same hub elsewhere."""

import asyncio
import dataclasses
import io
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.memory.conversation import ConversationMemory
from hub.app.backup import BackupOptions, backup_into
from hub.app.erasure import make_eraser
from hub.app.restore import NotEmpty, verify
from hub.archive.projector import Projector
from hub.backup.erased import NAME as ERASED
from hub.backup.redis_keys import CopyTooSlow, copy_keys, read_records
from hub.bus.bus import Bus
from hub.bus.connection import connect, connect_reader
from hub.bus.history import History
from hub.bus.keys import Keys
from hub.bus.queue import Commit
from hub.database import async_engine, database_url
from hub.erasure.person import Principal
from hub.errors import BusError, HubError, LeaseLost, SettingsError
from hub.settings import Settings
from knowledge.index.faiss import FaissIndex
from tests.hub.backup.backups import (
    assert_of_one_moment,
    backup,
    elsewhere,
    files_of,
    furnish,
    hidden,
    is_passing,
    keys_of,
    living,
    open_full,
    restored,
    rows_of,
    silent,
)
from tests.hub.erasure.world import ANA, BEN, BOT, MAILBOX, World
from tests.servers.postgresql import PostgresqlServer
from tests.servers.redis import RedisServer


async def test_everything_comes_back_on_another_machine(
    world: World, data: Path, tmp_path: Path, other_redis: RedisServer
) -> None:
    """Redis with its times, the database, vectors, models.json, adapters and the log; byte for byte."""
    for who in (ANA, BEN):
        await world.live_through(who)
    furnish(world.settings)
    before, other = await keys_of(world.redis), elsewhere(world.settings, tmp_path / "other", other_redis)

    path = await backup(world.settings, tmp_path)
    found = await restored(other, path)

    assert path.stat().st_mode & 0o777 == 0o600
    client = connect(other_redis.url)
    after = await keys_of(client)
    assert after == before | {key: after[key] for key in after.keys() - before.keys()}
    assert after.keys() - before.keys() == {Keys().state("erasure", "receipt_key").encode()} - before.keys()
    assert found.keys == len(after) + 1, "and the fence"
    both: tuple[Any, ...] = (world.client, client)
    fences = [int(await each.get(Keys().fence)) for each in both]
    assert fences[1] == fences[0] + 1_000_000, "no fence of before can be the newer one"
    await client.aclose()
    assert rows_of(other) == rows_of(world.settings)
    expected = {
        name: content for name, content in files_of(data).items() if name not in ("link", "models/large.gguf")
    }
    assert files_of(other.data) == expected
    assert {
        "log.jsonl",
        "models.json",
        "adapters/support/adapter.gguf",
        "index/manifest.json",
    } <= expected.keys()
    assert FaissIndex.open(other.data / "index", model="m")[0].size == 2
    left_out = found.manifest.left_out
    assert "link (a link)" in left_out
    assert any(name.startswith("models/") for name in left_out)
    assert hidden(tmp_path) == hidden(data) == []


async def test_fetched_models_go_along_where_that_is_wanted(
    world: World, data: Path, tmp_path: Path, other_redis: RedisServer
) -> None:
    """Without them, those of the other machine stay where they are."""
    furnish(world.settings)
    other = elsewhere(world.settings, tmp_path / "other", other_redis)
    await restored(other, await backup(world.settings, tmp_path / "with.tar.gz", with_models=True))
    assert (other.data / "models" / "large.gguf").read_bytes() == b"fetched again"
    (other.data / "models" / "own.gguf").write_bytes(b"its own")

    await restored(other, await backup(world.settings, tmp_path / "without.tar.gz"), force=True)

    assert (other.data / "models" / "own.gguf").exists()


async def test_the_postgresql_database_comes_back(
    own_redis: RedisServer, data: Path, tmp_path: Path, other_redis: RedisServer, postgresql: PostgresqlServer
) -> None:
    """Every row, and the next number of every sequence; into an empty database and over another hub's."""
    with postgresql.database() as url, postgresql.database("template0") as empty:
        world = World(own_redis, data, database_url=url)
        other = elsewhere(world.settings, tmp_path / "other", other_redis, empty)
        try:
            await world.live_through(ANA)
            path = await backup(world.settings, tmp_path)
            await restored(other, path)
            first = await asyncio.to_thread(_dump, empty)
            await restored(other, path, force=True)
            with pytest.raises(NotEmpty):
                await restored(elsewhere(world.settings, tmp_path / "third", other_redis, url), path)
        finally:
            await world.close()

        assert first == await asyncio.to_thread(_dump, url)
        assert await asyncio.to_thread(_dump, empty) == first
        with pytest.raises(SettingsError, match="database of postgresql"):
            await restored(elsewhere(other, tmp_path / "fourth", other_redis), path, force=True)


def _dump(url: str) -> dict[str, Any]:
    import psycopg  # noqa: PLC0415

    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
        ).fetchall()
        found: dict[str, Any] = {
            name: sorted(map(repr, connection.execute(f"SELECT * FROM {name}").fetchall()))
            for (name,) in tables
        }
        found["sequences"] = connection.execute(
            "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"
        ).fetchall()
        assert found["archived_turns"]
        return found


async def test_a_backup_under_load_is_of_one_moment(
    world: World, tmp_path: Path, other_redis: RedisServer
) -> None:
    """Messages come, are answered and sent all the while: in the copy no lane, stream, history or mark is ahead of another."""
    # However fast this machine is, no window forgets its first turns.
    world.memory = ConversationMemory(world.bus, world.people, history_turns=10_000, recalled_turns=1)
    stop, counts = asyncio.Event(), [0] * 4

    async def talk(number: int) -> None:
        address = dataclasses.replace(ANA, number=f"7{number:04}").telegram()
        conversation = f"telegram-{BOT}-7{number:04}"
        while not stop.is_set():
            await world.answer(address, conversation, f"Question {counts[number]}?")
            await world.ask(address, conversation, f"Waiting {counts[number]}")
            await world.work(conversation)
            counts[number] += 1

    talks = [asyncio.create_task(talk(number)) for number in range(4)]
    paths = []
    for number in range(4):
        before = min(counts)
        while min(counts) < before + 2:
            await asyncio.sleep(0.01)
        paths.append(await backup(world.settings, tmp_path / f"{number}.tar.gz"))
    stop.set()
    await asyncio.gather(*talks)

    for number, path in enumerate(paths):
        other = elsewhere(world.settings, tmp_path / f"other{number}", other_redis)
        await restored(other, path, force=True)
        bus = Bus(other_redis.url, other.bus)
        await assert_of_one_moment(bus)
        await _catches_up(other, bus)
        await bus.close()


async def _catches_up(settings: Settings, bus: Bus) -> None:
    """The archive, a little older than Redis, gets what it lacks."""
    engine, reader = async_engine(database_url(settings)), connect_reader(bus.url)
    await Projector(bus.redis, reader, History(bus.redis, shards=1), engine).catch_up()
    with closing(sqlite3.connect(settings.data / "hubbub.db")) as database:
        archived = {
            row[0] for row in database.execute("SELECT turn FROM archived_turns WHERE question != ''")
        }
    turns = set[str]()
    async for conversation in bus.history.conversations():
        turns |= {turn.turn for turn in await bus.history.turns(conversation, last=10_000)}
    assert archived == turns
    await reader.aclose()
    await engine.dispose()


async def test_what_waited_is_answered_there_at_once_and_in_order(
    world: World, tmp_path: Path, other_redis: RedisServer
) -> None:
    """A message under work at the cut belongs to nobody any more; whoever held it before can finish nothing."""
    conversation = f"telegram-{BOT}-{ANA.number}"
    for text in ("First", "Second", "Third"):
        await world.ask(ANA.telegram(), conversation, f"{text} question")
    held = await world.enter("inbound", conversation, owner="a worker of before")
    path = await backup(world.settings, tmp_path)
    other = elsewhere(world.settings, tmp_path / "other", other_redis)
    await restored(other, path)

    there = World(other_redis, other.data)
    for _ in range(3):
        await there.work(conversation)
    with pytest.raises(LeaseLost):
        await there.bus.queue("inbound", 0).commit(held, "a worker of before", Commit())
    turns = await there.bus.history.turns(conversation, last=10)
    left, dead = await there.bus.backlog("inbound"), await there.bus.dead_letters.count()
    await there.close()

    assert [turn.question for turn in turns] == ["First question", "Second question", "Third question"]
    assert (left, dead) == (0, 0)


async def test_who_was_erased_since_is_erased_again(
    world: World, data: Path, tmp_path: Path, other_redis: RedisServer
) -> None:
    """By the list that the folder keeps, or one that is brought along; of the other person nothing goes."""
    for who in (ANA, BEN):
        await world.live_through(who)
    path = await backup(world.settings, tmp_path)
    known = {name: value for name, value in (await world.picture_of(BEN)).items() if not is_passing(name)}
    await make_eraser(world.settings, world.bus).erase(
        Principal(connector="telegram", account=BOT, person=ANA.number),
        Principal(connector="email", account=MAILBOX, person=ANA.mail),
    )
    other = elsewhere(world.settings, tmp_path / "other", other_redis)

    found = await restored(other, path, lists=(data / ERASED,))

    assert found.erased_again
    there = World(other_redis, other.data)
    left = await there.files_hold(other.data, words=[ANA.word, f"-{ANA.number}"])
    picture = await there.picture_of(BEN)
    await there.close()
    assert left == []
    assert picture == known
    assert ANA.word not in (data / ERASED).read_text()
    again = await restored(other, await backup(other, tmp_path / "later.tar.gz"), force=True)
    assert not again.erased_again, "a backup of after the erasure knows of it"


async def test_a_backup_goes_through_a_pipe(world: World, tmp_path: Path) -> None:
    """Into gpg, age or ssh: what comes out is what a file would hold."""
    await world.live_through(ANA)
    pipe = io.BytesIO()

    manifest = await backup_into(world.settings, pipe, BackupOptions(), silent)

    path = tmp_path / "piped"
    path.write_bytes(pipe.getvalue())
    assert verify(path, silent)[1] == manifest


async def test_a_full_disk_and_a_pipe_nobody_reads_are_told(world: World, tmp_path: Path) -> None:
    """In a sentence, with nothing left behind."""
    with pytest.raises(HubError, match="No space left"), open_full() as full:
        await backup_into(world.settings, full, BackupOptions(), silent)
    with pytest.raises(HubError, match="cannot be written"):
        await backup(world.settings, tmp_path / "no" / "such" / "folder")

    assert hidden(world.settings.data) == []


async def test_writers_wait_no_longer_than_they_are_told_to(world: World) -> None:
    """Too much to copy: the backup is given up, and writers go on at once."""
    await world.live_through(ANA)

    with pytest.raises(CopyTooSlow, match="--longest-pause"):
        await copy_keys(world.redis, io.BytesIO(), io.BytesIO(), pause_s=0)

    assert await asyncio.wait_for(world.client.set("hubbub:{0}:state:test:x", 1), 1)


async def test_writers_wait_for_what_was_written_meanwhile_alone(world: World) -> None:
    """However much there is: most is copied while they work, and not one write is missing or half there."""
    pipe, stop, count = world.client.pipeline(transaction=False), asyncio.Event(), 0
    for number in range(5000):
        pipe.set(f"hubbub:{{0}}:seen:{number}", number)
    await pipe.execute()

    async def write() -> None:
        nonlocal count
        while not stop.is_set():
            pipe = world.client.pipeline(transaction=True)
            pipe.set(f"hubbub:{{0}}:state:a:{count}", count)
            pipe.delete(f"hubbub:{{0}}:seen:{count}")
            pipe.set(f"hubbub:{{0}}:state:b:{count}", count)
            await pipe.execute()
            count += 1

    async def written(number: int) -> None:
        while count < number:
            await asyncio.sleep(0.001)

    writing = asyncio.create_task(write())
    await written(10)
    file = io.BytesIO()
    copied = await copy_keys(world.redis, file, io.BytesIO(), pause_s=4)
    await written(count + 10)
    stop.set()
    await writing

    file.seek(0)
    names = {record.key.decode().removeprefix("hubbub:{0}:") for record in read_records(file, shards=1)}
    firsts = {int(name.removeprefix("state:a:")) for name in names if name.startswith("state:a:")}
    assert 10 <= len(firsts) < count
    assert firsts == set(range(len(firsts))), "one moment: of the writes in their order a beginning"
    assert {f"state:b:{number}" for number in firsts} <= names
    assert not {f"seen:{number}" for number in firsts} & names
    assert len(names) == copied.keys == 5000 + len(firsts)


async def test_where_nobody_tells_what_is_written_everything_is_copied_at_once(world: World) -> None:
    """A server that forbids it, or that gave it up in between."""
    await world.live_through(ANA)
    await world.client.execute_command("ACL SETUSER deaf on >pw ~* +@all -client|tracking")
    deaf = connect(world.bus.url.replace("redis://", "redis://deaf:pw@"))
    keys = (await copy_keys(world.redis, io.BytesIO(), io.BytesIO())).keys

    assert (await copy_keys(deaf, io.BytesIO(), io.BytesIO())).keys == keys

    async def cut() -> None:
        while not await world.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub"):
            await asyncio.sleep(0)

    cutting = asyncio.create_task(cut())
    assert (await copy_keys(world.redis, io.BytesIO(), io.BytesIO())).keys == keys
    await cutting
    await deaf.aclose()


async def test_a_redis_that_forbids_the_pause_is_copied_once_nobody_writes(world: World) -> None:
    """As hosted servers may: with a hub at work the reason is told, without one there is nothing to wait for."""
    await world.client.execute_command("ACL SETUSER weak on >pw ~* +@all -client|pause -client|unpause")
    weak = connect(world.bus.url.replace("redis://", "redis://weak:pw@"))
    async with living(world.redis, "hub"):
        with pytest.raises(BusError, match="CLIENT PAUSE"):
            await copy_keys(weak, io.BytesIO(), io.BytesIO())

    assert (await copy_keys(weak, io.BytesIO(), io.BytesIO())).keys >= 0
    await weak.aclose()
