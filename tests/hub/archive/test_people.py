"""What the archive holds of one person, and how it is removed."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.archive.archive import Archive, Reader
from hub.archive.people import erase_of, held_of
from hub.archive.projector import Projector
from hub.erasure.database_files import database_files
from hub.events import FeedbackEvent
from hub.messages import FactChange
from tests.hub.archive.test_projector import ANA, put, say

BEN = ANA.model_copy(update={"person": "ben"})


@pytest.fixture
def files(request: pytest.FixtureRequest, every_database: str, data: Path) -> Callable[[], bytes]:
    """Return what tells all that the files of the database hold."""
    if every_database.startswith("postgresql"):
        return partial(request.getfixturevalue("postgresql").bytes_of, every_database)
    return lambda: b"".join(path.read_bytes() for path in sorted(data.glob("hubbub.db*")))


async def _filled(redis: Redis, projector: Projector) -> None:
    for number, (address, conversation) in enumerate([(ANA, "c"), (BEN, "d"), (ANA, "e")], 1):
        fact = FactChange(key="name", text=f"CANARY{address.person}", quote=f"CANARY{address.person}")
        await say(redis, number, f"CANARY{address.person}", conversation, address=address, facts=(fact,))
        judged = FeedbackEvent(
            turn=f"{number}-0", connector="web", conversation=conversation, person=address.person, value="up"
        )
        await put(redis, judged)
    await projector.catch_up()


async def test_a_person_is_told_all_that_is_held_of_them(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """Every row of theirs, and none of anybody else's."""
    await _filled(redis, projector)

    held = await held_of(database, [ANA])

    assert {name: len(rows) for name, rows in held.items()} == {
        "archived_turns": 2,
        "archived_facts": 2,
        "archived_feedback": 2,
    }
    assert "ben" not in str(held)
    assert held["archived_turns"][0]["question"] == "CANARYana"
    assert await held_of(database, []) == {name: [] for name in held}


async def test_erasing_a_person_leaves_no_byte_of_them_and_all_of_others(
    redis: Redis,
    projector: Projector,
    database: AsyncEngine,
    every_database: str,
    files: Callable[[], bytes],
) -> None:
    """In the tables and in the index, once the files are written anew."""
    await _filled(redis, projector)
    others = await held_of(database, [BEN])
    assert b"CANARYana" in await asyncio.to_thread(files)

    assert await erase_of(database, [ANA]) == 6
    await database_files(every_database).compact()

    kept = await asyncio.to_thread(files)
    assert b"CANARYana" not in kept
    assert b"canaryana" not in kept
    assert b"CANARYben" in kept
    assert await held_of(database, [BEN]) == others
    [turn] = await Archive(database).search(Reader(conversations=["c", "d", "e"]), "canaryben")
    assert turn.question == "CANARYben"
