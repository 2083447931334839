"""Which questions are kept for the operator, with the real assistant."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from engine.answers import Recollection
from engine.noted_gaps import NotedGaps
from engine.turn import Assistant
from hub.database import DatabaseError, async_engine, upgrade
from hub.guard_settings import GapSettings
from hub.messages import Address, InboundMessage
from knowledge.gaps.store import GapStore
from tests.engine.small_retriever import SmallRetriever
from tests.engine.turns import HERE, Screen
from tests.servers.database import database_without_tables


class Noting:
    """An assistant whose gaps are kept."""

    def __init__(self, assistant: Assistant, retriever: SmallRetriever, store: GapStore) -> None:
        self.store = store
        self.erased = set[str]()
        self._answers = NotedGaps(
            assistant, store, retriever, embedding_model="m", was_erased=self._was_erased
        )

    async def _was_erased(self, message: InboundMessage) -> bool:
        return message.external_key in self.erased

    async def ask(self, text: str, key: str = "1", address: Address = HERE) -> str:
        """Ask one message."""
        message = InboundMessage(external_key=key, conversation="c", address=address, text=text)
        return (await self._answers.answer(message, Recollection(), Screen())).text

    async def kept(self) -> list[str]:
        """Return the questions that were kept."""
        return sorted(text for gap in await self.store.gaps() for text in (gap.question, *gap.examples))


@pytest.fixture
async def noting(assistant: Assistant, retriever: SmallRetriever, tmp_path: Path) -> AsyncIterator[Noting]:
    """An assistant over the documents beside the tests, and an empty database."""
    url = f"sqlite:///{tmp_path / 'hubbub.db'}"
    await asyncio.to_thread(upgrade, url)
    engine = async_engine(url)
    yield Noting(assistant, retriever, GapStore(engine, GapSettings()))
    await engine.dispose()


async def test_a_question_without_support_is_kept(noting: Noting) -> None:
    """What is answered, about oneself, small talk or a command is not; of several questions only the open one is."""
    for number, text in enumerate(
        [
            "Who wrote Hamlet?",
            "How much is an espresso?",
            "What is my name?",
            "hello",
            "/help",
            "What is 12 * 7?",
            "How much is an espresso? Who painted the Mona Lisa?",
        ]
    ):
        await noting.ask(text, str(number))

    assert await noting.kept() == ["Who painted the Mona Lisa?", "Who wrote Hamlet?"]


async def test_an_answer_does_not_depend_on_the_database(
    noting: Noting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where it fails the answer is the same, and the log says so without the question."""
    said = await noting.ask("Who wrote Hamlet?")
    (tmp_path / "broken").mkdir()

    async with database_without_tables(tmp_path / "broken") as broken:
        monkeypatch.setattr(noting.store, "_engine", broken)
        with capture_logs() as logs:
            again = await noting.ask("Who wrote Hamlet?", "2")

    assert again == said
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["gap_not_noted"]
    assert "Hamlet" not in repr(logs)


async def test_forgetting_a_conversation_forgets_its_open_questions(
    noting: Noting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody is told that it was done where the database fails."""
    await noting.ask("Who wrote Hamlet?")

    await noting.ask("/forget", "2")

    assert await noting.kept() == []
    (tmp_path / "broken").mkdir()
    async with database_without_tables(tmp_path / "broken") as broken:
        monkeypatch.setattr(noting.store, "_engine", broken)
        with pytest.raises(DatabaseError):
            await noting.ask("/forget", "3")


async def test_in_a_group_each_forgets_their_own(noting: Noting) -> None:
    """What others have asked there stays."""
    group = HERE.model_copy(update={"is_group": True})
    await noting.ask("Who wrote Hamlet?", "1", group)
    await noting.ask("Who painted the Mona Lisa?", "2", group.model_copy(update={"person": "ben"}))

    await noting.ask("/forget", "3", group)

    assert await noting.kept() == ["Who painted the Mona Lisa?"]


async def test_a_question_is_not_noted_when_its_person_was_erased_meanwhile(noting: Noting) -> None:
    """Its answer will not be committed either."""
    noting.erased.add("1")

    await noting.ask("Who wrote Hamlet?")

    assert await noting.kept() == []
