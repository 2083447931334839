"""Full-text search over one's own history."""

import pytest
from redis.asyncio import Redis
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.archive.archive import Archive, Reader
from hub.archive.projector import Projector
from hub.archive.search import matching, words_of
from hub.archive.tables import ArchivedTurnRow
from hub.database import sync_engine
from tests.hub.archive.test_projector import ANA, say
from tests.servers.postgresql import PostgresqlServer

HOSTILE = [
    '"',
    "a OR b",
    "NEAR(a b)",
    "question:lane",
    "lane*",
    "x' OR 1=1 --",
    "%",
    "_",
    "^lane",
    "(",
    "-lane",
    "\x00",
    "\ud800",
    "'",
    "\\",
    "z:*",
    "y & !z <-> (x",
    "²",
]


async def found(database: AsyncEngine, words: str, *conversations: str, person: str = "") -> list[str]:
    """Return the questions that are found, the latest first."""
    reader = Reader(conversations=conversations or ("c",), person=person)
    return [turn.question for turn in await Archive(database).search(reader, words)]


async def test_turns_are_found_by_words_of_question_and_answer(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """All of them, in any order and case, from the beginning of a word on; the latest first."""
    await say(redis, 1, "When does the café in Lisbon open?")
    await say(redis, 2, "How much is the espresso there?")
    await say(redis, 3, "Does the cafe have chairs?")
    await projector.catch_up()

    assert await found(database, "lisbon CAFÉ") == ["When does the café in Lisbon open?"]
    assert await found(database, "esp") == ["How much is the espresso there?"]
    assert await found(database, "cafe") == [
        "Does the cafe have chairs?",
        "When does the café in Lisbon open?",
    ]
    assert await found(database, "answer espresso") == ["How much is the espresso there?"]
    assert await found(database, "tea") == []
    assert await found(database, "?!") == []


async def test_languages_without_blanks_are_found_by_their_signs(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """Anywhere in the text."""
    await say(redis, 1, "我住在北京市")
    await projector.catch_up()

    assert await found(database, "北京") == ["我住在北京市"]


async def test_nobody_finds_what_others_said(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """Only the conversations named are looked into, and in a group only one's own turns."""
    ben = ANA.model_copy(update={"person": "ben", "is_group": True})
    ana = ANA.model_copy(update={"is_group": True})
    await say(redis, 1, "secret of c")
    await say(redis, 2, "secret of d", "d")
    await say(redis, 3, "secret of ben", "g", address=ben)
    await say(redis, 4, "secret of ana", "g", address=ana)
    await projector.catch_up()

    assert await found(database, "secret", "c") == ["secret of c"]
    assert await found(database, "secret", "c", "d") == ["secret of d", "secret of c"]
    assert await found(database, "secret", "g", person="ana") == ["secret of ana"]
    assert await Archive(database).search(Reader(conversations=()), "secret") == []


def test_words_are_looked_up_in_the_index(postgresql: PostgresqlServer) -> None:
    """PostgreSQL takes it only where the question asks for exactly what it is made of."""
    query = select(ArchivedTurnRow.id).where(next(matching("lane", "postgresql")))
    with postgresql.database() as url:
        engine = sync_engine(url)
        statement = query.compile(engine, compile_kwargs={"literal_binds": True})
        with engine.connect() as connection:
            connection.execute(text("SET enable_seqscan = off"))
            plan = connection.exec_driver_sql(f"EXPLAIN {statement}").scalars().all()
        engine.dispose()

    assert any("ix_archived_turns_words" in line for line in plan), plan


async def test_a_text_of_any_length_is_archived(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """It is found by its first words, and stops nothing that comes after it."""
    long = " ".join(f"w{number}" for number in range(300_000))
    await say(redis, 1, long)
    await say(redis, 2, "short")
    await projector.catch_up()

    assert [question == long for question in await found(database, "w17")] == [True]
    assert await found(database, "short") == ["short"]


@pytest.mark.parametrize("typed", HOSTILE)
async def test_operators_are_words_like_any_other(
    redis: Redis, projector: Projector, database: AsyncEngine, typed: str
) -> None:
    """Nothing that is typed breaks the search or widens it."""
    await say(redis, 1, "hello")
    await projector.catch_up()

    assert await found(database, typed) == []


def test_what_is_looked_for_is_bounded() -> None:
    """Few words, none of them long."""
    words = words_of(" ".join(["x" * 500] * 100))

    assert len(words) <= 12
    assert all(len(word) <= 64 for word in words)
