"""Citations and what became of their documents, on a real knowledge base."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.answers import Answer, Recollection, TextSink, TurnStats
from engine.cited import CheckedSources
from hub.app.channels import HubSide, marked_history
from hub.bus.bus import Bus
from hub.citations import Citations
from hub.database import async_engine, database_url
from hub.live import Live
from hub.messages import InboundMessage, Source, Turn, utc_now
from hub.settings import Settings
from knowledge.search import KnowledgeBase
from knowledge.versions import DocumentVersions
from tests.engine.bench import ADDRESS, Scripted
from tests.engine.turns import Screen
from tests.servers.database import database_without_tables

TEXT = "# Hours\n\nThe library opens at nine.\n"


@pytest.fixture
async def database(base: KnowledgeBase, settings: Settings) -> AsyncIterator[AsyncEngine]:
    """The base's database."""
    engine = async_engine(database_url(settings))
    yield engine
    await engine.dispose()


async def _sources(base: KnowledgeBase) -> tuple[Source, ...]:
    passages = await base.search("When does the library open?", 5)
    return tuple(
        Source(
            number=number,
            title=passage.title,
            location=passage.location,
            quote=passage.text,
            score=1,
            version=passage.version,
        )
        for number, passage in enumerate(passages, 1)
    )


def _turn(sources: tuple[Source, ...]) -> Turn:
    return Turn(
        turn="1", question="q", answer="a", sources=sources, asked_at=utc_now(), answered_at=utc_now()
    )


async def test_an_earlier_answer_shows_that_its_document_has_changed_or_gone(
    base: KnowledgeBase, database: AsyncEngine, folder: Path
) -> None:
    """As it is when the turn is read: current, changed, current again, moved, gone."""
    citations = Citations(DocumentVersions(database))
    (folder / "hours.md").write_text(TEXT)
    await base.ingest([folder])
    turn = _turn(await _sources(base))
    assert len(turn.sources) == 1
    assert len(turn.sources[0].version) == 64

    async def state() -> str:
        [marked] = await citations.marked([turn])
        return marked.sources[0].state

    assert await state() == "current"
    (folder / "hours.md").write_text(TEXT.replace("nine", "ten"))
    await base.ingest([folder])
    assert await state() == "changed"
    (folder / "hours.md").write_text(TEXT)
    await base.ingest([folder])
    assert await state() == "current"
    (folder / "hours.md").rename(folder / "opening.md")
    await base.ingest([folder])
    assert await state() == "current"
    (folder / "opening.md").unlink()
    (folder / "other.md").write_text("# Other\n\nThe museum opens at eight.\n")
    await base.ingest([folder])
    assert await state() == "gone"


async def test_the_past_of_the_widget_is_marked(
    base: KnowledgeBase, settings: Settings, folder: Path
) -> None:
    """As the hub puts the web channel together."""
    (folder / "hours.md").write_text(TEXT)
    await base.ingest([folder])
    turn = _turn(await _sources(base))
    (folder / "hours.md").write_text(TEXT.replace("nine", "ten"))
    await base.ingest([folder])

    class Past:
        async def turns(self, conversation: str, last: int = 50) -> list[Turn]:
            assert (conversation, last) == ("c", 7)
            return [turn]

    async with AsyncExitStack() as opened:
        bus = SimpleNamespace(history=Past())
        side = HubSide(settings, cast("Bus", bus), cast("Live", None), opened)
        [marked] = await marked_history(side).turns("c", 7)

    assert [source.state for source in marked.sources] == ["changed"]


async def test_sources_of_many_turns_are_looked_up_at_once(
    base: KnowledgeBase, database: AsyncEngine
) -> None:
    """Each gets its own state; those without a version, such as files of a message, get none."""
    citations = Citations(DocumentVersions(database))
    gone = [
        Source(number=1, title="t", location=f"{number}.md", quote="q", score=1, version="0" * 64)
        for number in range(450)
    ]
    file = Source(number=2, title="t", location="mine.pdf", quote="q", score=1)

    marked = await citations.marked([_turn((each, file)) for each in gone])

    assert [[source.state for source in turn.sources] for turn in marked] == [["gone", ""]] * 450
    assert [turn.sources[0].location for turn in marked] == [each.location for each in gone]


async def test_sources_says_what_has_changed(
    base: KnowledgeBase, database: AsyncEngine, folder: Path
) -> None:
    """In the answer to `/sources`, as it is shown."""
    (folder / "hours.md").write_text(TEXT)
    await base.ingest([folder])
    sources = await _sources(base)
    missing = sources[0].model_copy(update={"number": 2, "location": "b.md", "version": "1" * 64})

    async def script(message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        await text.add("My sources.")
        return Answer(kind="notice", text="My sources.", sources=(*sources, missing), stats=TurnStats())

    checked = CheckedSources(Scripted(script), Citations(DocumentVersions(database)))

    async def ask(command: str) -> Answer:
        message = InboundMessage(external_key="1", conversation="c", address=ADDRESS, text=command)
        screen = Screen()
        answer = await checked.answer(message, Recollection(), screen)
        assert screen.text == answer.text
        return answer

    assert "[2]" in (await ask("/sources")).text
    assert "[1]" not in (await ask("/sources")).text
    (folder / "hours.md").write_text(TEXT.replace("nine", "ten"))
    await base.ingest([folder])
    answer = await ask("/sources@hub_bot")
    assert "Changed since then: [1]." in answer.text
    assert "No longer among my documents: [2]." in answer.text
    assert [source.state for source in answer.sources] == ["changed", "gone"]
    assert (await ask("When?")).text == "My sources."


async def test_where_the_documents_cannot_be_read_sources_stay_unmarked(tmp_path: Path) -> None:
    """An answer is worth more than its mark."""
    source = Source(number=1, title="t", location="a.md", quote="q", score=1, version="0" * 64)

    async with database_without_tables(tmp_path) as broken:
        assert await Citations(DocumentVersions(broken)).marked_sources([source]) == (source,)
