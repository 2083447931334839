"""What the archive holds of one person, and how it is removed."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.archive.archive import Archive, Reader
from hub.archive.people import TABLES, Whose, count_of, erase_of, rows_of, traces_of
from hub.archive.projector import Projector
from hub.bus.keys import Keys
from hub.erasure.database_files import database_files
from hub.events import FeedbackEvent
from hub.messages import FactChange, Turn
from hub.people import identity_of
from tests.hub.archive.test_projector import ANA, put, say

BEN = ANA.model_copy(update={"person": "ben"})


OF_ANA, OF_BEN = Whose(addresses=[ANA]), Whose(addresses=[BEN])


@pytest.fixture
def files(request: pytest.FixtureRequest, every_database: str, data: Path) -> Callable[[], bytes]:
    """Return what tells all that the files of the database hold."""
    if every_database.startswith("postgresql"):
        return partial(request.getfixturevalue("postgresql").bytes_of, every_database)
    return lambda: b"".join(path.read_bytes() for path in sorted(data.glob("hubbub.db*")))


async def _held(database: AsyncEngine, whose: Whose) -> dict[str, list[dict[str, Any]]]:
    return {table.__tablename__: [row async for row in rows_of(database, table, whose)] for table in TABLES}


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

    held = await _held(database, OF_ANA)

    assert {name: len(rows) for name, rows in held.items()} == {
        "archived_turns": 2,
        "archived_facts": 2,
        "archived_feedback": 2,
    }
    assert "ben" not in str(held)
    assert held["archived_turns"][0]["question"] == "CANARYana"
    assert await _held(database, Whose(addresses=[])) == {name: [] for name in held}


async def test_erasing_a_person_leaves_no_byte_of_them_and_all_of_others(
    redis: Redis,
    projector: Projector,
    database: AsyncEngine,
    every_database: str,
    files: Callable[[], bytes],
) -> None:
    """In the tables and in the index, once the files are written anew."""
    await _filled(redis, projector)
    others = await _held(database, OF_BEN)
    assert b"CANARYana" in await asyncio.to_thread(files)

    assert await erase_of(database, OF_ANA) == 6
    await database_files(every_database).compact()

    kept = await asyncio.to_thread(files)
    assert b"CANARYana" not in kept
    assert b"canaryana" not in kept
    assert b"CANARYben" in kept
    assert await _held(database, OF_BEN) == others
    [turn] = await Archive(database).search(Reader(conversations=["c", "d", "e"]), "canaryben")
    assert turn.question == "CANARYben"


async def test_who_is_known_by_an_identity_or_a_conversation_alone_is_found(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """Of a linked identity no more than its mark may be known, and of an old conversation no more than its name."""
    await _filled(redis, projector)

    assert (await traces_of(database, Whose(addresses=[], identities=[identity_of(ANA)]))).turns == {
        "1-0",
        "3-0",
    }
    assert await count_of(database, Whose(addresses=[], identities=[identity_of(ANA)])) == 4
    assert await count_of(database, Whose(addresses=[], conversations=["c"])) == 3
    assert await erase_of(database, Whose(addresses=[], identities=[identity_of(ANA)])) == 6


async def test_somebody_with_thousands_of_threads_is_erased(
    redis: Redis, projector: Projector, database: AsyncEngine
) -> None:
    """A mailbox knows them by each; no database allows a condition for each."""
    await _filled(redis, projector)
    addresses = [ANA.model_copy(update={"person": f"thread {number}"}) for number in range(3000)]

    assert await erase_of(database, Whose(addresses=[*addresses, ANA])) == 6


async def test_what_was_read_before_an_erasure_is_not_written_after_it(
    redis: Redis, projector: Projector, database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it comes from the events or, when the archive is made again, from the histories."""
    client: Any = redis
    await _filled(redis, projector)
    others = await _held(database, OF_BEN)
    await say(redis, 4, "CANARYana", "c")
    turns = projector._history.turns

    async def erased_meanwhile(conversation: str, last: int = 50) -> list[Turn]:
        found = await turns(conversation, last)
        if conversation == "c" and found:
            await client.delete(Keys().history("c"), Keys().history("e"))
            for entry, fields in await client.xrange(Keys().events):
                if fields[b"conversation"] in (b"c", b"e"):
                    await client.xdel(Keys().events, entry)
            await erase_of(database, OF_ANA)
        return found

    monkeypatch.setattr(projector._history, "turns", erased_meanwhile)
    await projector.catch_up()
    assert await count_of(database, OF_ANA) == 0
    await say(redis, 5, "CANARYana", "c")
    await projector.rebuild()
    await projector.catch_up()

    assert await count_of(database, OF_ANA) == 0
    assert await _held(database, OF_BEN) == others
