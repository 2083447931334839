"""Which questions are kept for the operator, with the real assistant."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from engine.answers import Recollection
from engine.noted_gaps import NotedGaps
from engine.turn import Assistant
from hub.database import async_engine, upgrade
from hub.guard_settings import GapSettings
from hub.messages import InboundMessage
from knowledge.gaps.store import GapStore
from tests.engine.small_retriever import SmallRetriever
from tests.engine.turns import HERE, Screen


class Noting:
    """An assistant whose gaps are kept."""

    def __init__(self, assistant: Assistant, retriever: SmallRetriever, store: GapStore) -> None:
        self.store = store
        self._answers = NotedGaps(assistant, store, retriever, embedding_model="m")

    async def ask(self, text: str, key: str = "1") -> str:
        """Ask one message."""
        message = InboundMessage(external_key=key, conversation="c", address=HERE, text=text)
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
    noting: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it fails the answer is the same, and the log says so without the question."""
    said = await noting.ask("Who wrote Hamlet?")
    broken = async_engine("sqlite:////nowhere/at/all.db")
    monkeypatch.setattr(noting.store, "_engine", broken)

    with capture_logs() as logs:
        again = await noting.ask("Who wrote Hamlet?", "2")

    assert again == said
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["gap_not_noted"]
    assert "Hamlet" not in repr(logs)
    await broken.dispose()
