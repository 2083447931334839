"""What is handed out can be taken again by another hub; what others made of it can do no harm."""

import asyncio
import json
import os
import stat
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.app.export import archive_import
from hub.archive.archive import Archive as SqlArchive
from hub.archive.people import rows_of
from hub.archive.projector import Projector
from hub.archive.tables import ArchivedFactRow, ArchivedFeedbackRow
from hub.bus.feedback import FeedbackBook
from hub.bus.history import History
from hub.bus.keys import Keys
from hub.database import async_engine, upgrade
from hub.erasure.person import Person, Principal
from hub.export.archive import MANIFEST, Archive, ArchiveRefused, Manifest, write_archive
from hub.export.archived import take_archived
from hub.export.importing import HistorySink, Imported, import_log
from hub.messages import Turn
from tests.hub.erasure.world import ANA, BEN, BOT, World
from tests.hub.export.writing import nobody, written
from tests.servers.redis import RedisServer


async def _lived(world: World) -> Person:
    await world.live_through(ANA)
    await world.live_through(BEN)
    return await world.eraser().find(Principal(connector="telegram", account=BOT, person=ANA.number))


async def test_what_one_hub_hands_out_another_takes(
    world: World,
    redis_server: RedisServer,
    redis: Redis,
    tmp_path: Path,
) -> None:
    """Turns, facts, settings and links are there, once, however often they are taken; all else is left alone."""
    file = tmp_path / "all.zip"
    person = await _lived(world)
    await world.client.hset(Keys().preferences("web-x"), "model", "big")
    await world.client.hset(Keys().style("web-x"), "tone", "short")
    await written(world, file, None)
    other = World(redis_server, tmp_path)
    history, private = History(redis), f"telegram-{BOT}-{ANA.number}"

    with Archive(file) as archive:
        first = await archive_import(other.settings, other.bus).take(archive, lambda _: None)
        second = await archive_import(other.settings, other.bus).take(archive, lambda _: None)

    assert first.refused == 0
    assert second.taken.total() == 0
    assert await history.turns(private) == await world.bus.history.turns(private)
    assert await history.facts(private) == await world.bus.history.facts(private)
    assert await history.preferences("web-x") == {"model": "big"}
    assert await history.style("web-x") == {"tone": "short"}
    assert await history.version("web-x") != ""
    found = await other.eraser().find(Principal(connector="telegram", account=BOT, person=ANA.number))
    assert found.marks == person.marks
    assert found.groups == person.groups
    await other.close()


async def test_the_archive_of_one_hub_goes_on_in_that_of_another(
    world: World, projector: Projector, tmp_path: Path
) -> None:
    """Also turns that the windows have lost; once, however often they are taken."""
    private = f"telegram-{BOT}-{ANA.number}"
    for text in ("one", "two"):
        turn = await world.answer(ANA.telegram(), private, f"What is {text} of {ANA.word}, my name?")
    judging = FeedbackBook(world.redis, "telegram", shards=1)
    await judging.feedback(turn, private, ANA.number, "up")
    await projector.catch_up()
    await world.client.delete(Keys().history(private))
    await written(world, tmp_path / "all.zip", None)
    url = f"sqlite:///{tmp_path / 'other.db'}"
    await asyncio.to_thread(upgrade, url)
    engine, done = async_engine(url), [Imported(), Imported()]

    with Archive(tmp_path / "all.zip") as archive:
        for each in done:
            await take_archived(engine, archive, each, lambda _: None)

    kinds = ("archived_turns", "archived_facts", "archived_feedback")
    assert [[each.taken[kind] for kind in kinds] for each in done] == [[2, 2, 1], [0, 0, 0]]
    here = await projector._archive.recall(private, "", last=9)
    assert here.facts
    assert await SqlArchive(engine).recall(private, "", last=9) == here
    stored = [await _rows(one) for one in (projector._archive._engine, engine)]
    assert stored[0] == stored[1]
    await engine.dispose()


async def _rows(engine: AsyncEngine) -> list[dict[str, Any]]:
    """Return what an archive holds beside the turns, but for the numbers of its rows."""
    tables = (ArchivedFactRow, ArchivedFeedbackRow)
    return [{**row, "id": 0} for table in tables async for row in rows_of(engine, table, None)]


async def test_facts_that_nothing_proves_are_not_taken(data: Path, tmp_path: Path) -> None:
    """A fact or a judgement of a turn that is not in the archive is passed over, and rows that are none are told."""
    fact = {
        "conversation": "web-x",
        "key": "name",
        "text": "n",
        "quote": "n",
        "found_by": "rules",
        "turn": "1-0",
    }
    said = {"conversation": "web-x", "turn": "1-0", "person": "p", "connector": "web", "value": "up"}
    said["judged_at"] = datetime.now(UTC).isoformat()
    rows = {
        "archived_facts": [fact, {**fact, "text": ""}, {"conversation": "web-x"}],
        "archived_feedback": [said],
    }
    files = [
        (f"{kind}.jsonl", "".join(json.dumps(row) + "\n" for row in each)) for kind, each in rows.items()
    ]
    url, done = f"sqlite:///{data / 'hubbub.db'}", Imported()
    await asyncio.to_thread(upgrade, url)
    engine = async_engine(url)

    with Archive(_zip(tmp_path / "rows.zip", files)) as archive:
        await take_archived(engine, archive, done, lambda _: None)

    assert (done.taken.total(), done.refused) == (0, 2)
    assert "a row tells no fact" in done.problems[0]
    assert await _rows(engine) == []
    await engine.dispose()


async def test_an_import_is_seen_by_whoever_holds_the_conversation(redis: Redis) -> None:
    """Its version changes; and one that was to go by itself still goes."""
    client: Any = redis
    at = datetime.fromtimestamp(5, UTC)
    turn = Turn(turn="5000-0", question="q", answer="a", asked_at=at, answered_at=at)
    await client.rpush(Keys().history("c"), turn.model_dump_json().replace("5000-0", "4000-0"))
    await client.expire(Keys().history("c"), 600)

    await HistorySink(redis, shards=1, keep=3).add("c", [turn])

    assert await History(redis).version("c") != ""
    assert 0 < await client.ttl(Keys().history("c")) <= 600


async def test_a_part_under_the_name_of_another_is_not_written_to(world: World, tmp_path: Path) -> None:
    """In a folder where others may write a link could stand there."""
    (tmp_path / "other").write_text("another's")
    (tmp_path / ".all.zip.part").symlink_to(tmp_path / "other")

    await written(world, tmp_path / "all.zip", None)

    assert (tmp_path / "other").read_text() == "another's"


async def test_an_interrupted_archive_is_no_archive(world: World, tmp_path: Path) -> None:
    """A file appears once it is whole; an earlier one stays until then."""
    file = tmp_path / "all.zip"
    file.write_bytes(b"earlier")

    class Failing:
        name = "failing"

        async def rows(self, person: Person | None) -> Any:
            yield {"a": 1}
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await write_archive(file, [Failing()], None, version="1", step=nobody)

    assert file.read_bytes() == b"earlier"
    assert [name for name in os.listdir(tmp_path) if "." in name] == ["all.zip"]  # noqa: PTH208


def _manifest() -> str:
    return Manifest(format=1, version="1", made_at=datetime.now(UTC), scope="person").model_dump_json()


def _zip(path: Path, files: Sequence[tuple[str | zipfile.ZipInfo, str]], *, manifest: bool = True) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
        if manifest:
            archive.writestr(MANIFEST, _manifest())
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../facts.jsonl",
        "/etc/facts.jsonl",
        "a/facts.jsonl",
        "..\\facts.jsonl",
        "C:facts.jsonl",
        "run.sh",
        "x/",
    ],
)
def test_paths_that_no_hub_writes_are_refused(tmp_path: Path, name: str) -> None:
    """Nothing of such an archive is read, and nothing is ever unpacked."""
    file = _zip(tmp_path / "bad.zip", [("facts.jsonl", "{}\n"), (name, "{}\n")])

    with pytest.raises(ArchiveRefused):
        Archive(file)


def test_links_and_foreign_zips_are_refused(tmp_path: Path) -> None:
    """A symbolic link, a zip without a manifest, one of a later format, and no zip at all."""
    link = zipfile.ZipInfo("facts.jsonl")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    later = _manifest().replace('"format":1', '"format":2')
    plain = tmp_path / "plain.zip"
    plain.write_text("no zip")

    for file in (
        _zip(tmp_path / "link.zip", [(link, "/etc/passwd")]),
        _zip(tmp_path / "none.zip", [("facts.jsonl", "{}")], manifest=False),
        _zip(tmp_path / "later.zip", [(MANIFEST, later)], manifest=False),
        plain,
    ):
        with pytest.raises(ArchiveRefused):
            Archive(file)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_any_damage_is_told_as_such(tmp_path: Path, method: int) -> None:
    """Whatever byte is another, or the end missing; and no method that a hub does not use is begun."""
    file = tmp_path / "some.zip"
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("facts.jsonl", "".join(f'{{"key": "{number}"}}\n' for number in range(40)))
        archive.writestr(MANIFEST, _manifest())
    whole = file.read_bytes()
    for place in range(len(whole)):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]):
            file.write_bytes(damaged)
            try:
                with Archive(file) as archive:
                    assert method == zipfile.ZIP_DEFLATED
                    list(archive.rows("facts"))
            except ArchiveRefused:
                continue


def test_a_row_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """A small zip can hold a line of gigabytes; it is not read into memory."""
    file = _zip(tmp_path / "bomb.zip", [("facts.jsonl", '{"a":"' + "x" * (5 << 20) + '"}')])

    with Archive(file) as archive, pytest.raises(ArchiveRefused, match="longer"):
        list(archive.rows("facts"))


@pytest.mark.parametrize(
    "row",
    [
        {"conversation": "a:b", "key": "k", "value": "v"},
        {"conversation": "x" * 65, "key": "k", "value": "v"},
        {"conversation": "c", "key": 1, "value": "v"},
        {"key": "k", "value": "v"},
    ],
)
async def test_rows_that_would_reach_other_keys_are_refused(
    redis_server: RedisServer, redis: Redis, tmp_path: Path, row: dict[str, Any]
) -> None:
    """A name goes into a key of Redis: only such as a hub gives are taken, and the rest is told."""
    file = _zip(tmp_path / "rows.zip", [("facts.jsonl", json.dumps(row) + "\n")])
    hub = World(redis_server, tmp_path)

    with Archive(file) as archive:
        done = await archive_import(hub.settings, hub.bus).take(archive, lambda _: None)

    assert (done.refused, done.taken.total()) == (1, 0)
    assert await redis.dbsize() == 0
    await hub.close()


async def test_a_log_of_an_earlier_system_becomes_turns(redis: Redis, tmp_path: Path) -> None:
    """Times of every form; the same file twice is once; a bad line is told with its number and the rest goes on."""
    lines = [
        {"timestamp": "2024-05-01T10:00:00", "prompt": "What is one?", "response": "One is one."},
        {"timestamp": 1714557700, "prompt": "What is two?", "response": "Two is two."},
        {"timestamp": "2024-05-01T12:00:00+02:00", "prompt": "The same second", "response": "Yes."},
        {"timestamp": "yesterday", "prompt": "When?", "response": "?"},
        {"timestamp": 5, "prompt": "Too old", "response": "?"},
        {"prompt": 1, "response": "?", "timestamp": 1714557700},
    ]
    file = tmp_path / "log.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\nno json\n\n", "utf-8")
    sink, read = HistorySink(redis, shards=1, keep=10), list[int]()

    first = await import_log(file, "import-log", sink, keep=10, progress=read.append)
    second = await import_log(file, "import-log", sink, keep=10, progress=read.append)

    turns = await History(redis).turns("import-log")
    assert [turn.question for turn in turns] == ["What is one?", "The same second", "What is two?"]
    assert turns[0].turn == "1714557600000-0"
    assert (first.taken["turns"], first.refused, second.taken["turns"]) == (3, 4, 0)
    assert [problem.partition(":")[0] for problem in first.problems] == [
        "line 4",
        "line 5",
        "line 6",
        "line 7",
    ]
    assert sum(read) == 2 * file.stat().st_size


async def test_imported_turns_stand_among_those_that_are_there(redis: Redis) -> None:
    """By time; what is there stays byte for byte, and no more are kept than a conversation holds."""

    def turn(number: int) -> Turn:
        at = datetime.fromtimestamp(number, UTC)
        return Turn(turn=f"{number}000-0", question=str(number), answer="a", asked_at=at, answered_at=at)

    client: Any = redis
    here = turn(5).model_dump_json().replace('"a"', '"there"')
    await client.rpush(Keys().history("c"), here)

    new = await HistorySink(redis, shards=1, keep=3).add("c", [turn(1), turn(4), turn(5), turn(9)])

    rows = await client.lrange(Keys().history("c"), 0, -1)
    assert new == 3
    assert [json.loads(row)["question"] for row in rows] == ["4", "5", "9"]
    assert rows[1] == here.encode()
