"""What the database holds of people, handed out and taken again: the archive, and questions that stayed open."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

from pydantic import AwareDatetime, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.archive.erasure import ArchiveStore, whose
from hub.archive.people import rows_of
from hub.archive.rows import Projection
from hub.database import database_errors
from hub.erasure.person import Person
from hub.events import FeedbackEvent
from hub.export.archive import Archive
from hub.export.importing import Imported, Progress, conversation_of
from hub.messages import FactChange, Message, Turn

_BATCH = 200


class ArchivedRecords:
    """Rows of one table of the archive: also turns that the windows in Redis have lost.

    Args:
        table: as `hub.archive.people.TABLES` has them; its name is that of the file.
    """

    def __init__(self, archive: ArchiveStore, table: Any) -> None:
        self.name: str = table.__tablename__
        self._archive = archive
        self._table = table

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give the rows."""
        async with self._archive.opened() as engine:
            async for row in rows_of(engine, self._table, whose(person) if person else None):
                yield row


class QuestionRecords:
    """Questions that nothing could answer.

    Args:
        read: gives those of a person; of everybody where it is None.
    """

    name = "open_questions"

    def __init__(self, read: Callable[[Person | None], Awaitable[list[dict[str, Any]]]]) -> None:
        self._read = read

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give the questions."""
        for row in await self._read(person):
            yield row


class _Fact(FactChange):
    """A fact with where it was told; who told it and when stands in that turn, and is taken from nowhere else."""

    turn: str


class _Judgement(Message):
    """What somebody thinks of an answer."""

    turn: str
    connector: str
    person: str
    value: Literal["up", "down"]
    judged_at: AwareDatetime


Taking = Callable[[Projection, str, Mapping[str, Any]], Awaitable[int]]
"""Writes one row of a conversation unless it is there; returns how many were not. Raises: ValueError: it is no such row."""


async def take_archived(engine: AsyncEngine, archive: Archive, done: Imported, progress: Progress) -> None:
    """Put turns, facts and judgements of another hub's archive into this one's; what is there stays as it is.

    Raises:
        DatabaseError: the database cannot be written; what was taken until then stays.
        ArchiveRefused: a file of the archive cannot be read.
    """
    # Turns first: a fact or a judgement is worth as much as the turn that proves it.
    kinds: Mapping[str, Taking] = {
        "archived_turns": _take_turn,
        "archived_facts": _take_fact,
        "archived_feedback": _take_judgement,
    }
    for kind, take in kinds.items():
        rows = archive.rows(kind)
        while batch := list(islice(rows, _BATCH)):
            await _keep(engine, kind, batch, take, done)
            progress(len(batch))


async def _keep(
    engine: AsyncEngine, kind: str, batch: Sequence[Mapping[str, Any]], take: Taking, done: Imported
) -> None:
    writing = engine.execution_options(immediate=True)
    async with database_errors("the archive could not be written"), writing.begin() as connection:
        projection = Projection(connection)
        for row in batch:
            try:
                done.taken[kind] += await take(projection, conversation_of(row), row)
            except ValidationError:
                done.refuse(f"{kind}: a row holds other fields than an archive's")
            except ValueError as error:
                done.refuse(f"{kind}: {error}")


async def _take_turn(projection: Projection, conversation: str, row: Mapping[str, Any]) -> int:
    if row.get("address") is None:
        # Nothing but that there was a turn is known of it.
        return 0
    return await projection.restore(conversation, [Turn.model_validate(row)])


async def _take_fact(projection: Projection, conversation: str, row: Mapping[str, Any]) -> int:
    fact = _Fact.model_validate(row)
    if not fact.text:
        raise ValueError("a row tells no fact")
    return await projection.restore_fact(conversation, fact.turn, fact)


async def _take_judgement(projection: Projection, conversation: str, row: Mapping[str, Any]) -> int:
    said = _Judgement.model_validate(row)
    event = FeedbackEvent(
        turn=said.turn,
        conversation=conversation,
        connector=said.connector,
        person=said.person,
        value=said.value,
    )
    return await projection.restore_judgement(event, said.judged_at)
