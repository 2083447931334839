"""`log.jsonl` is continued in new files, and no line of it is lost, left behind or written twice."""

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from hub.erasure.files import InteractionStore
from hub.erasure.person import Person
from hub.export.records import InteractionRecords
from hub.interactions import InteractionLog, earlier_files, interaction_files
from hub.logs import InteractionSettings
from hub.messages import Address, OutboundMessage, utc_now

ADDRESS = Address(connector="web", account="hub", chat="v", person="v")


async def yes() -> bool:
    """Want it written."""
    return True


async def write(log: InteractionLog, *texts: str, conversation: str = "web-v") -> None:
    """Record some replies."""
    for text in texts:
        message = OutboundMessage(
            reply_id=f"{text}:0", turn=text, conversation=conversation, address=ADDRESS, text=text
        )
        await log.record(message, yes)


def begin(path: Path, line: object) -> None:
    """Let the log begin with a line."""
    path.write_text(json.dumps(line) + "\n")


def said(files: Sequence[Path]) -> list[str]:
    """Read the answers of some files."""
    return [json.loads(line)["answer"] for file in files for line in file.read_text("utf-8").splitlines()]


@pytest.fixture
def path(data: Path) -> Path:
    """The log."""
    return data / "log.jsonl"


async def test_a_large_log_is_continued_and_the_oldest_goes(path: Path) -> None:
    """What an operator keeps beside it stays, whatever its name begins with."""
    (path.parent / "log-of-the-year.jsonl").write_text("{}\n")
    log = InteractionLog(path, InteractionSettings(max_bytes=1, keep=3))

    await write(log, "a", "b", "c", "d", "e", "f")

    assert said([path]) == ["f"]
    assert said(earlier_files(path)) == ["c", "d", "e"]
    assert (path.parent / "log-of-the-year.jsonl").exists()


async def test_an_old_log_is_continued(path: Path) -> None:
    """By the age of its first line; one that does not tell when it was written is left to grow."""
    log = InteractionLog(path, InteractionSettings(max_age_days=2))
    day = timedelta(days=1)
    begin(path, {"at": (utc_now() - day).isoformat(), "answer": "yesterday"})
    await write(log, "one")
    assert earlier_files(path) == []

    begin(path, {"at": (utc_now() - 3 * day).isoformat(), "answer": "long ago"})
    await write(log, "two")
    assert said(earlier_files(path)) == ["long ago"]
    assert said([path]) == ["two"]

    begin(path, "half a li")
    await write(log, "three")
    assert len(earlier_files(path)) == 1


async def test_several_processes_write_and_turn_the_pages(path: Path) -> None:
    """Every line is there once, whole, and no file is overwritten by another process' turn."""
    program = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from hub.interactions import InteractionLog\nfrom hub.logs import InteractionSettings\n"
        "from tests.hub.test_interactions import write\n"
        "log = InteractionLog(Path(sys.argv[1]), InteractionSettings(max_bytes=2000, keep=90))\n"
        "asyncio.run(write(log, *(f'{sys.argv[2]}{n}' for n in range(100))))\n"
    )
    running = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(path), name) for name in "ab"
    ]
    assert [await one.wait() for one in running] == [0, 0]

    lines = said(interaction_files(path))
    assert sorted(lines) == sorted(f"{name}{n}" for name in "ab" for n in range(100))
    assert len(earlier_files(path)) > 5
    for name in "ab":
        assert [line for line in lines if line[0] == name] == [f"{name}{n}" for n in range(100)]


async def test_a_person_is_erased_from_every_file(path: Path) -> None:
    """And handed out from every file; the lines of the others stay byte for byte."""
    log = InteractionLog(path, InteractionSettings(max_bytes=1))
    await write(log, "mine 1")
    await write(log, "theirs", conversation="web-w")
    await write(log, "mine 2", "mine 3")
    person = Person(conversations=frozenset({"web-v"}))
    store, records = InteractionStore(path), InteractionRecords(path)
    theirs = earlier_files(path)[1].read_bytes()

    assert await store.holds(person) == 3
    assert [row["answer"] async for row in records.rows(person)] == ["mine 1", "mine 2", "mine 3"]
    assert len([row async for row in records.rows(None)]) == 4

    assert await store.erase(person) == 3

    assert await store.holds(person) == 0
    assert [row["answer"] async for row in records.rows(None)] == ["theirs"]
    assert earlier_files(path)[1].read_bytes() == theirs


async def test_a_page_that_is_turned_hides_nothing_from_a_reader(path: Path) -> None:
    """Whoever began to read reads what was there then."""
    log = InteractionLog(path, InteractionSettings(max_bytes=1, keep=1))
    await write(log, "one", "two")
    rows = InteractionRecords(path).rows(None)
    first = await anext(rows)

    await write(log, "three", "four")

    assert [first["answer"], *[row["answer"] async for row in rows]] == ["one", "two"]


async def test_what_is_not_wanted_turns_no_page(path: Path) -> None:
    """Of an erased person nothing is written, and nothing else happens."""
    log = InteractionLog(path, InteractionSettings(max_bytes=1))
    await write(log, "one")

    async def no() -> bool:
        return False

    message = OutboundMessage(reply_id="x:0", turn="x", conversation="web-v", address=ADDRESS, text="x")
    await log.record(message, no)

    assert said(interaction_files(path)) == ["one"]
