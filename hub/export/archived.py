"""What the database holds of people, handed out and taken again: the archive, and questions that stayed open."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.archive.erasure import ArchiveStore, whose
from hub.archive.people import rows_of
from hub.archive.rows import Projection
from hub.database import database_errors
from hub.erasure.person import Person
from hub.export.importing import Imported, Progress, conversation_of
from hub.messages import Turn

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


async def take_archived(
    engine: AsyncEngine, rows: Iterable[Mapping[str, Any]], done: Imported, progress: Progress
) -> None:
    """Put turns of another hub's archive into this one's; what is there stays as it is.

    Raises: DatabaseError: the database cannot be written; what was taken until then stays.
    """
    batch: list[tuple[str, Turn]] = []
    for row in rows:
        progress(1)
        if row.get("address") is None:
            # Nothing but that there was a turn is known of it.
            continue
        try:
            batch.append((conversation_of(row), Turn.model_validate(row)))
        except (ValueError, ValidationError):
            done.refuse("archived_turns: a row holds no turn")
        if len(batch) == _BATCH:
            await _keep(engine, batch, done)
            batch.clear()
    await _keep(engine, batch, done)


async def _keep(engine: AsyncEngine, batch: list[tuple[str, Turn]], done: Imported) -> None:
    writing = engine.execution_options(immediate=True)
    async with database_errors("the archive could not be written"), writing.begin() as connection:
        projection = Projection(connection)
        for conversation, turn in batch:
            done.taken["archived_turns"] += await projection.restore(conversation, [turn])
