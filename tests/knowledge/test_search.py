"""The knowledge base from the outside: real files, the real model, real indexes."""

import asyncio
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from hub.database import database_url, sync_engine
from hub.errors import KnowledgeError
from hub.settings import PROJECT_ROOT, KnowledgeSettings, Settings
from knowledge.search import KnowledgeBase
from tests.knowledge.files import write_library

INGEST = """
import sys
from pathlib import Path
from hub.settings import KnowledgeSettings, Settings
from knowledge.ingest import ingest
settings = Settings(data=Path(sys.argv[1]), knowledge=KnowledgeSettings(bundled_docs=False))
ingest(settings, [Path(sys.argv[2])], lambda progress: print(progress.location, flush=True))
"""


async def _best(base: KnowledgeBase, question: str) -> str:
    passages = await base.search(question, 1)
    return passages[0].location if passages else ""


async def test_question_finds_the_right_document_of_every_kind(base: KnowledgeBase, folder: Path) -> None:
    """Markdown, text, HTML and PDF are found by questions about them."""
    write_library(folder)

    await base.ingest([folder])

    assert await _best(base, "How should I water my tomato plants?") == "garden/tomatoes.md"
    assert await _best(base, "When does the train to Vienna go?") == "trains.txt"
    assert await _best(base, "What does sourdough need?") == "bread.html"
    assert await _best(base, "How often must the tractor's oil be changed?") == "engine.pdf"


async def test_passage_tells_where_it_stands(base: KnowledgeBase, folder: Path) -> None:
    """A passage has its document's title, its heading path, its text and its version."""
    write_library(folder)
    await base.ingest([folder])

    (passage,) = await base.search("How should I water my tomato plants?", 1)

    assert passage.title == "Garden notes"
    assert passage.heading == "Tomatoes > Watering"
    assert passage.text == "Water tomatoes at the root every morning, never on the leaves."
    assert len(passage.version) == 64
    assert 0.4 < passage.score <= 1


async def test_hidden_text_of_a_page_is_not_known(base: KnowledgeBase, folder: Path) -> None:
    """Scripts and hidden paragraphs are no knowledge."""
    write_library(folder)
    await base.ingest([folder])

    passages = await base.search("walrus alert stolen", 10)

    assert not any(word in passage.text for passage in passages for word in ("walrus", "stolen"))


async def test_empty_base_finds_nothing(base: KnowledgeBase) -> None:
    """Without documents there are no passages, and no error."""
    assert await base.search("Anything?", 5) == []
    assert await base.documents() == []


@pytest.mark.parametrize("question", ["", "   \n", "\ud800", "x" * 100_000, "\x00<|im_start|>system"])
async def test_strange_questions_are_answered(base: KnowledgeBase, folder: Path, question: str) -> None:
    """No question is an error."""
    (folder / "a.txt").write_text("Some text about cats.")
    await base.ingest([folder])

    passages = await base.search(question, 3)

    assert len(passages) == (1 if question.strip() else 0)


async def test_changed_document_is_replaced(base: KnowledgeBase, folder: Path) -> None:
    """After a change the old text is not found any more."""
    file = folder / "hours.md"
    file.write_text("# Hours\n\nThe library opens at nine.")
    await base.ingest([folder])
    file.write_text("# Hours\n\nThe library opens at eleven.")

    report = await base.ingest([folder])
    passages = await base.search("When does the library open?", 5)

    assert report.replaced == ["hours.md"]
    assert [passage.text for passage in passages] == ["The library opens at eleven."]


async def test_removed_document_is_forgotten(base: KnowledgeBase, folder: Path) -> None:
    """A file that is gone from an ingested folder is gone from the answers."""
    (folder / "keep.txt").write_text("The museum is closed on Mondays.")
    (folder / "drop.txt").write_text("The secret password is swordfish.")
    await base.ingest([folder])
    (folder / "drop.txt").unlink()

    report = await base.ingest([folder])
    passages = await base.search("What is the secret password?", 5)

    assert report.removed == ["drop.txt"]
    assert [passage.location for passage in passages] == ["keep.txt"]


async def test_same_text_is_shown_once(base: KnowledgeBase, folder: Path) -> None:
    """Copies of a text cannot flood the passages."""
    for number in range(20):
        (folder / f"copy{number}.md").write_text("# Offer\n\nBuy the golden umbrella at the market.")
    (folder / "other.md").write_text("# Rain\n\nIn the rain an umbrella helps.")
    await base.ingest([folder])

    passages = await base.search("Which umbrella shall I buy?", 2)

    assert len({passage.text for passage in passages}) == 2


async def test_documents_are_listed(base: KnowledgeBase, folder: Path) -> None:
    """The list tells what is known and how it is cut."""
    write_library(folder)
    await base.ingest([folder])

    listed = {info.location: info for info in await base.documents()}

    assert listed.keys() == {"bread.html", "engine.pdf", "garden/tomatoes.md", "trains.txt"}
    assert listed["garden/tomatoes.md"].chunks == 2
    assert listed["engine.pdf"].title == "Tractor manual"
    assert listed["engine.pdf"].added_at.tzinfo is not None


async def test_other_process_is_noticed(base: KnowledgeBase, settings: Settings, folder: Path) -> None:
    """What a program takes in is found by a base that is open meanwhile."""
    assert await base.search("When does the ferry leave?", 1) == []
    (folder / "ferry.txt").write_text("The ferry leaves at noon.")

    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", INGEST, str(settings.data), str(folder), cwd=PROJECT_ROOT
    )
    assert await program.wait() == 0

    assert await _best(base, "When does the ferry leave?") == "ferry.txt"


async def test_killed_ingestion_goes_on_where_it_was(settings: Settings, folder: Path) -> None:
    """SIGKILL in the middle loses no finished document and leaves no half one."""
    for number in range(400):
        (folder / f"{number:03}.txt").write_text(
            f"Room {number} is painted in colour number {number * 7}. " * 8
        )
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        INGEST,
        str(settings.data),
        str(folder),
        cwd=PROJECT_ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdout
    while await program.stdout.readline() != b"004.txt\n":
        pass
    program.kill()
    await program.communicate()
    base = await KnowledgeBase.open(settings)

    before = await base.documents()
    report = await base.ingest([folder])
    after = await base.documents()
    await base.close()

    assert 5 <= len(before) < 400
    assert all(info.chunks > 0 for info in before)
    assert len(report.unchanged) == len(before)
    assert len(report.added) == 400 - len(before)
    assert len(after) == 400


async def test_damaged_index_is_built_anew(settings: Settings, folder: Path) -> None:
    """A damaged or missing file costs a rebuild, never an answer."""
    write_library(folder)
    base = await KnowledgeBase.open(settings)
    await base.ingest([folder])
    await base.search("fill the index", 1)
    await base.close()
    (file,) = (settings.data / "index").glob("vectors-*.faiss")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF

    for damage in (bytes(content), content[:100], b""):
        file.write_bytes(damage)
        base = await KnowledgeBase.open(settings)
        assert await _best(base, "When does the train to Vienna go?") == "trains.txt"
        await base.close()
        (file,) = (settings.data / "index").glob("vectors-*.faiss")


async def test_saved_index_is_used_again(settings: Settings, folder: Path) -> None:
    """A second start finds the same without embedding anything."""
    write_library(folder)
    base = await KnowledgeBase.open(settings)
    await base.ingest([folder])
    first = await base.search("Vienna", 3)
    await base.close()

    base = await KnowledgeBase.open(settings)
    second = await base.search("Vienna", 3)
    version = base.version
    await base.close()

    assert second == first
    assert version == 4


async def test_bundled_documents_are_known_at_first_start(tmp_path: Path) -> None:
    """The project's own README is there without being added, and goes when it is turned off."""
    base = await KnowledgeBase.open(Settings(data=tmp_path))
    await base.ready()
    locations = {info.location for info in await base.documents()}
    await base.close()
    base = await KnowledgeBase.open(Settings(data=tmp_path, knowledge=KnowledgeSettings(bundled_docs=False)))
    await base.ready()
    left = await base.documents()
    await base.close()

    assert "README.md" in locations
    assert all(location == "README.md" or location.startswith("docs/") for location in locations)
    assert left == []


async def test_other_model_embeds_everything_again(settings: Settings, folder: Path, tmp_path: Path) -> None:
    """Embeddings of another model are replaced without reading the files again."""
    (folder / "a.txt").write_text("The ferry leaves at noon.")
    base = await KnowledgeBase.open(settings)
    await base.ingest([folder])
    await base.close()
    (folder / "a.txt").unlink()
    _pretend_other_model(settings)

    base = await KnowledgeBase.open(settings)
    async with asyncio.timeout(30):
        while not await base.search("When does the ferry leave?", 1):
            await asyncio.wait(base.background)
    await base.close()


async def test_event_loop_is_never_blocked(base: KnowledgeBase, folder: Path) -> None:
    """While documents are embedded and questions asked, the event loop goes on."""
    for number in range(10):
        (folder / f"{number}.txt").write_text(f"Text {number} about trains and boats. " * 100)
    await base.ready()
    gaps: list[float] = []

    async def watch() -> None:
        # Of the loop's own thread: how busy the machine is does not count.
        last = time.thread_time()
        while True:
            await asyncio.sleep(0.005)
            gaps.append(time.thread_time() - last)
            last = time.thread_time()

    watcher = asyncio.create_task(watch())
    await asyncio.gather(
        base.ingest([folder]), *(base.search("Which trains are there?", 3) for _ in range(5))
    )
    watcher.cancel()

    assert max(gaps) < 0.5


async def test_missing_model_is_an_error_with_its_folder(tmp_path: Path) -> None:
    """A wrong folder in the settings is told at once."""
    wrong = KnowledgeSettings(embedding_model=str(tmp_path / "none"))

    with pytest.raises(KnowledgeError, match="none"):
        await KnowledgeBase.open(Settings(data=tmp_path, knowledge=wrong))


def _pretend_other_model(settings: Settings) -> None:
    engine = sync_engine(database_url(settings))
    with engine.begin() as connection:
        connection.execute(text("UPDATE chunks SET embedding_model = 'other', embedding = x'00000000'"))
    engine.dispose()
