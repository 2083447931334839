"""Questions nobody could answer, kept and put together on a real database."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.database import async_engine
from hub.guard_settings import GapSettings
from knowledge.embedder import Embedder
from knowledge.gaps.store import GapStore, Unanswered, cleaned, clusters
from knowledge.gaps.tables import GapRow

MODEL = "all-MiniLM-L6-v2"


@pytest.fixture
async def database(every_database: str) -> AsyncIterator[AsyncEngine]:
    """A new database with all tables, of each kind in turn."""
    engine = async_engine(every_database)
    yield engine
    await engine.dispose()


def _asked(text: str, number: int, **more: Any) -> Unanswered:
    fields = {"turn": f"t{number}", "conversation": f"c{number}", "connector": "web", "text": text, **more}
    return Unanswered(**fields)


async def _note(store: GapStore, embedder: Embedder, *texts: str) -> None:
    vectors = embedder.encode([cleaned(text) for text in texts])
    for number, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        await store.note(_asked(text, number), vector, MODEL)


async def test_questions_that_ask_the_same_are_one_gap(database: AsyncEngine, embedder: Embedder) -> None:
    """With how often it was asked and how else; what is asked most comes first."""
    store = GapStore(database, GapSettings())
    await _note(
        store,
        embedder,
        "Do you deliver to Mars?",
        "Is there parking for bicycles?",
        "Where can I park my bicycle?",
        "Can I park a bicycle at your place?",
    )

    parking, mars = await store.gaps()

    assert (parking.count, mars.count) == (3, 1)
    assert "bicycle" in parking.question
    assert len(parking.examples) == 2
    assert mars.question == "Do you deliver to Mars?"
    assert parking.first_asked <= parking.last_asked


async def test_a_question_is_kept_without_numbers_that_tell_who_asked(
    database: AsyncEngine, embedder: Embedder
) -> None:
    """Nor can its embedding tell them: it is made of what is kept."""
    store = GapStore(database, GapSettings())
    await _note(store, embedder, "Is the card 4111 1111 1111 1111 of bob@example.org valid?")

    [gap] = await store.gaps()

    assert gap.question == "Is the card *** of *** valid?"


async def test_a_second_attempt_at_a_message_counts_nothing(
    database: AsyncEngine, embedder: Embedder
) -> None:
    """The same question of the same turn is one question; another of that turn is another one."""
    store = GapStore(database, GapSettings())
    vector = embedder.encode(["Where?"])[0]
    for ordinal in (0, 0, 1):
        await store.note(_asked("Where is the pool?", 1, ordinal=ordinal), vector, MODEL)

    assert [gap.count for gap in await store.gaps()] == [2]


async def test_old_questions_make_room(database: AsyncEngine) -> None:
    """By number and by age."""
    store = GapStore(database, GapSettings(max_questions=3))
    vectors = np.eye(5, dtype=np.float32)
    for number in range(5):
        await store.note(_asked(f"question {number}", number), vectors[number], MODEL)
    assert sorted(gap.question for gap in await store.gaps()) == ["question 2", "question 3", "question 4"]

    async with database.begin() as connection:
        long_ago = datetime.now(UTC) - timedelta(days=400)
        await connection.execute(update(GapRow).where(GapRow.text == "question 2").values(asked_at=long_ago))
    await store.note(_asked("question 5", 5), vectors[0], MODEL)

    assert sorted(gap.question for gap in await store.gaps()) == ["question 3", "question 4", "question 5"]


async def test_a_conversation_s_questions_can_be_forgotten(database: AsyncEngine) -> None:
    """And no others."""
    store = GapStore(database, GapSettings())
    vectors = np.eye(3, dtype=np.float32)
    for number in range(3):
        await store.note(
            _asked(f"question {number}", number, conversation=f"c{number % 2}"), vectors[number], MODEL
        )

    assert await store.forget("c0") == 2
    assert [gap.question for gap in await store.gaps()] == ["question 1"]


async def test_a_dismissed_gap_goes_with_all_its_questions(database: AsyncEngine) -> None:
    """Proposals go with it."""
    store = GapStore(database, GapSettings())
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    for number in range(3):
        await store.note(_asked(f"question {number}", number), vectors[number], MODEL)
    first, _ = await store.gaps()
    await store.propose(first.id, [{"title": "T", "text": "x", "url": ""}])
    assert (await store.gaps())[0].proposals == ({"title": "T", "text": "x", "url": ""},)

    assert await store.dismiss(first) == 2
    assert [gap.question for gap in await store.gaps()] == ["question 2"]


def test_ten_thousand_questions_are_grouped_in_time() -> None:
    """Each is in one group, those around one middle together, and the same input gives the same groups."""
    dice = np.random.default_rng(7)
    middles = dice.normal(size=(100, 64)).astype(np.float32)
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    which = dice.integers(0, 100, 10_000)
    vectors = middles[which] + dice.normal(scale=0.04, size=(10_000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    groups = clusters(vectors, 0.7)

    assert sorted(place for group in groups for place in group) == list(range(10_000))
    assert len(groups) == 100
    assert all(len({int(which[place]) for place in group}) == 1 for group in groups)
    assert groups == clusters(vectors, 0.7)
