"""What the archive holds of one person: told to them, or removed for good."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, text, true, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from hub.archive.tables import (
    ERASURES,
    FULL_TEXT,
    ArchivedFactRow,
    ArchivedFeedbackRow,
    ArchivedTurnRow,
    ArchivePositionRow,
)
from hub.database import database_errors
from hub.messages import Address, Turn
from hub.people import principal_name

_MERGE = f"INSERT INTO {FULL_TEXT}({FULL_TEXT}) VALUES ('optimize')"  # noqa: S608 - a name of ours
TABLES = (ArchivedTurnRow, ArchivedFactRow, ArchivedFeedbackRow)
_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Whose rows: everything by which the archive tells that they are a person's."""

    addresses: Sequence[Address]
    """As whom the person writes; connector, account and person count."""
    identities: Collection[str] = ()
    """Of whom no more is known than what `identity_of` returns."""
    conversations: Collection[str] = ()
    """Those that are theirs alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What the archive knows of a person beyond what was asked for."""

    conversations: frozenset[str]
    groups: frozenset[str]
    turns: frozenset[str]


async def rows_of(engine: AsyncEngine, table: Any, whose: Whose | None) -> AsyncIterator[dict[str, Any]]:
    """Give the rows of one table, ready to be written as JSON; few are in memory at a time.

    Args:
        whose: None: everybody's.

    Raises: DatabaseError: the database cannot be read.
    """
    query = select(table.__table__).where(true() if whose is None else _is_of(table, whose))
    async with database_errors("the archive could not be read"), engine.connect() as connection:
        async for row in await connection.stream(query.execution_options(yield_per=_PAGE)):
            yield {name: _plain(value) for name, value in row._mapping.items()}


async def count_of(engine: AsyncEngine, whose: Whose) -> int:
    """Count the rows that are a person's.

    Raises: DatabaseError: the database cannot be read.
    """
    found = 0
    async with database_errors("the archive could not be read"), engine.connect() as connection:
        for table in TABLES:
            own = select(func.count()).select_from(table.__table__).where(_is_of(table, whose))
            found += (await connection.execute(own)).scalar_one()
    return found


async def traces_of(engine: AsyncEngine, whose: Whose) -> Traces:
    """Return where a person wrote, and which turns are theirs.

    Raises: DatabaseError: the database cannot be read.
    """
    row = ArchivedTurnRow
    query = select(row.conversation, row.turn, row.is_group).where(_is_of(row, whose))
    async with database_errors("the archive could not be read"), engine.connect() as connection:
        found = list(await connection.execute(query))
    return Traces(
        conversations=frozenset(each.conversation for each in found if not each.is_group),
        groups=frozenset(each.conversation for each in found if each.is_group),
        turns=frozenset(each.turn for each in found),
    )


async def turns_in(engine: AsyncEngine, conversation: str, *, last: int) -> list[Turn]:
    """Return the latest turns of a conversation whose text is kept, oldest first; each says who asked.

    Raises: DatabaseError: the database cannot be read.
    """
    row = ArchivedTurnRow
    query = (
        select(row)
        .where(row.conversation == conversation, row.question != "")
        .order_by(row.place.desc())
        .limit(last)
    )
    async with database_errors("the archive could not be read"), AsyncSession(engine) as session:
        found = list(await session.scalars(query))
    asked = (
        one.to_turn().model_copy(update={"who": principal_name(one.connector, one.account, one.person)})
        for one in reversed(found)
    )
    return list(asked)


async def erase_of(engine: AsyncEngine, whose: Whose) -> int:
    """Remove every row of the archive that is a person's, and its words from the full-text index.

    What another process has read before and not written yet it writes no more. SQLite's pages are overwritten with
    zeros. What lies in its journal and free pages, and in PostgreSQL's dead rows, goes when `hub.erasure.database_files`
    writes them anew, which no transaction may contain and the caller does.

    Returns: rows removed.
    Raises: DatabaseError: the database cannot be written.
    """
    removed = 0
    is_sqlite = engine.dialect.name == "sqlite"
    writing = engine.execution_options(immediate=True)
    async with database_errors("the archive could not be erased"), writing.begin() as connection:
        if is_sqlite:
            await connection.execute(text("PRAGMA secure_delete=ON"))
        await _count_up(connection)
        own = select(ArchivedTurnRow.turn).where(
            _is_of(ArchivedTurnRow, whose),
            ArchivedTurnRow.conversation == ArchivedFeedbackRow.conversation,
        )
        # What others think of answers to this person goes with the answers.
        judged = delete(ArchivedFeedbackRow).where(ArchivedFeedbackRow.turn.in_(own))
        removed += (await connection.execute(judged)).rowcount
        for table in TABLES:
            removed += (await connection.execute(delete(table).where(_is_of(table, whose)))).rowcount
        if is_sqlite:
            # Deleted entries stay in the index's segments until these are merged.
            await connection.execute(text(_MERGE))
    return removed


async def _count_up(connection: AsyncConnection) -> None:
    """Count this erasure; whoever writes the archive looks at the count in the transaction of what it writes."""
    row = ArchivePositionRow
    known = await connection.scalar(select(row.position).where(row.stream == ERASURES).with_for_update())
    if known is None:
        await connection.execute(insert(row).values(stream=ERASURES, position="1"))
    else:
        counted = update(row).where(row.stream == ERASURES).values(position=str(int(known) + 1))
        await connection.execute(counted)


def _is_of(table: Any, whose: Whose) -> ColumnElement[bool]:
    # As sets: databases allow an expression only some hundred levels, and a mailbox knows a person by each thread.
    names = ("connector", "account", "person") if hasattr(table, "account") else ("connector", "person")
    columns = tuple_(*(getattr(table, name) for name in names))
    known = sorted({tuple(getattr(address, name) for name in names) for address in whose.addresses})
    conditions = [columns.in_(known), table.conversation.in_(sorted(whose.conversations))]
    if hasattr(table, "identity"):
        conditions.append(table.identity.in_(sorted(whose.identities)))
    return or_(*conditions)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
