"""SIGKILL while documents are taken in: nothing is half, nothing is lost, and it goes on where it was."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from hub.database import database_url, sync_engine
from hub.settings import PROJECT_ROOT, KnowledgeSettings, Settings
from knowledge.ingest import ingest
from knowledge.search import KnowledgeBase
from knowledge.sources.base import Source
from knowledge.sources.named import Named, sources_of
from tests.knowledge.repositories import commit, repository
from tests.knowledge.test_mbox_source import box, mail

PROGRAM = """
import sys
from pathlib import Path
from hub.settings import KnowledgeSettings, Settings
from knowledge.ingest import ingest
from knowledge.sources.named import Named, sources_of
data, place = Path(sys.argv[1]), Path(sys.argv[2])
settings = Settings(data=data, knowledge=KnowledgeSettings(bundled_docs=False, readers=2))
named = Named(mailboxes=[place / "box"], repositories=[str(place / "project")])
ingest(
    settings,
    [place / "folder"],
    lambda step: print(step.outcome, step.location, flush=True),
    sources=sources_of(named, settings),
)
"""
EACH = 40


def words(number: int, kind: str) -> str:
    """Write a text of one or two chunks, like no other."""
    chosen = random.Random(f"{kind} {number}")
    names = ["harbour", "mill", "station", "orchard", "bridge", "tower", "market", "quarry"]
    return " ".join(
        f"The {chosen.choice(names)} {kind} {number} is {chosen.randint(1, 999)} metres from the {chosen.choice(names)}."
        for _ in range(9)
    )


def write_sources(place: Path) -> None:
    """Make a folder, a mailbox and a repository."""
    (place / "folder").mkdir()
    for number in range(EACH):
        (place / "folder" / f"{number}.md").write_text(words(number, "file"))
    box(
        place / "box",
        *(mail(f"Mail {number}", words(number, "mail"), number=str(number)) for number in range(EACH)),
    )
    repository(place / "project", {f"docs/{number}.md": words(number, "blob") for number in range(EACH)})


def stored(data: Path) -> dict[tuple[str, str], tuple[str, tuple[str, ...]]]:
    """Give what the database holds of each document, checked for being whole."""
    engine = sync_engine(database_url(Settings(data=data)))
    with engine.connect() as connection:
        documents = connection.execute(text("SELECT id, root, location, version FROM documents")).all()
        chunks = connection.execute(
            text("SELECT document_id, ordinal, text_hash, length(embedding) AS size FROM chunks ORDER BY id")
        ).all()
    engine.dispose()
    of_document = {row.id: [chunk for chunk in chunks if chunk.document_id == row.id] for row in documents}
    assert sum(map(len, of_document.values())) == len(chunks)
    for own in of_document.values():
        assert [chunk.ordinal for chunk in own] == list(range(len(own)))
        assert own
        assert {chunk.size for chunk in own} == {4 * 384}
    found = {
        (row.root, row.location): (row.version, tuple(chunk.text_hash for chunk in of_document[row.id]))
        for row in documents
    }
    assert len(found) == len(documents)
    return found


def run(data: Path, place: Path, kill_after: int | None, pause_s: float = 0.0) -> list[str]:
    """Run the program; kill it after so many documents and a pause. Give what it told."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(data), str(place)],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        told = []
        for line in process.stdout:
            # Between what it tells there may be lines of the log.
            if line.split(" ")[0] in ("added", "replaced", "unchanged", "removed", "failed"):
                told.append(line.strip())
            if len(told) == kill_after:
                time.sleep(pause_s)
                process.kill()
                break
        process.stdout.read()
    return told


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_ingestions_go_on_where_they_were(tmp_path: Path, seed: int) -> None:
    """Killed again and again at chosen moments, it ends as if it had never been."""
    chosen = random.Random(seed)
    write_sources(tmp_path)
    data, calm = tmp_path / "data", tmp_path / "calm"
    before: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {}
    for _ in range(3):
        # Past what is there already, and so within what is new.
        run(data, tmp_path, len(before) + chosen.randint(1, 20), chosen.uniform(0, 0.3))
        after = stored(data)
        assert before.items() <= after.items()
        before = after

    told = run(data, tmp_path, None)

    assert len(told) == 3 * EACH
    assert sum(line.startswith("unchanged") for line in told) == len(before)
    assert len(before) > 0
    run(calm, tmp_path, None)
    assert stored(data) == stored(calm)

    # Changes are as safe: some files go, some change.
    for number in range(EACH):
        if number % 3 == 0:
            (tmp_path / "folder" / f"{number}.md").unlink()
        elif number % 3 == 1:
            (tmp_path / "folder" / f"{number}.md").write_text(words(number, "changed"))
    commit(
        tmp_path / "project", {f"docs/{number}.md": words(number, "changed") for number in range(0, EACH, 2)}
    )
    run(data, tmp_path, chosen.randint(20, 70), chosen.uniform(0, 0.3))
    stored(data)
    run(data, tmp_path, None)
    run(calm, tmp_path, None)
    assert stored(data) == stored(calm)
    assert len(stored(data)) == 3 * EACH - len(range(0, EACH, 3))

    # What is found comes from what is stored, whatever state the index was left in.
    base = await KnowledgeBase.open(
        Settings(data=data, knowledge=KnowledgeSettings(bundled_docs=False, readers=1))
    )
    await base.search("settle", 1)
    assert base.size == sum(len(chunks) for _, chunks in stored(data).values())
    await base.close()


def test_many_ingestions_at_once_end_as_one(tmp_path: Path) -> None:
    """Two programs that take in the same files leave each document once."""
    write_sources(tmp_path)
    data = tmp_path / "data"
    program = [sys.executable, "-c", PROGRAM, str(data), str(tmp_path)]

    started = [subprocess.Popen(program, cwd=PROJECT_ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]

    assert [process.wait() for process in started] == [0, 0]
    settings = Settings(data=data, knowledge=KnowledgeSettings(bundled_docs=False, readers=1))
    sources: list[Source] = sources_of(
        Named(mailboxes=[tmp_path / "box"], repositories=[str(tmp_path / "project")]), settings
    )
    report = ingest(settings, [tmp_path / "folder"], sources=sources)
    assert (len(stored(data)), report.failed) == (3 * EACH, {})
    assert len(report.added) + len(report.unchanged) == 3 * EACH
