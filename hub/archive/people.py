"""What the archive holds of one person: told to them, or removed for good."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.archive.archive import database_errors
from hub.archive.tables import FULL_TEXT, ArchivedFactRow, ArchivedFeedbackRow, ArchivedTurnRow
from hub.messages import Address

_MERGE = f"INSERT INTO {FULL_TEXT}({FULL_TEXT}) VALUES ('optimize')"  # noqa: S608 - a name of ours
_TABLES = (ArchivedTurnRow, ArchivedFactRow, ArchivedFeedbackRow)


async def held_of(engine: AsyncEngine, addresses: Sequence[Address]) -> dict[str, list[dict[str, Any]]]:
    """Return every row of the archive that is a person's, by table, ready to be written as JSON.

    Args:
        addresses: as whom the person writes; connector, account and person count.

    Raises: DatabaseError: the database cannot be read.
    """
    held: dict[str, list[dict[str, Any]]] = {}
    async with database_errors("the archive could not be read"), engine.connect() as connection:
        for table in _TABLES:
            rows = await connection.execute(select(table.__table__).where(_is_of(table, addresses)))
            held[table.__tablename__] = [
                {name: _plain(value) for name, value in row._mapping.items()} for row in rows
            ]
    return held


async def erase_of(engine: AsyncEngine, addresses: Sequence[Address]) -> int:
    """Remove every row of the archive that is a person's, and its words from the full-text index.

    SQLite's pages are overwritten with zeros. What lies in its journal and free pages, and in PostgreSQL's dead rows,
    goes when `hub.erasure.database_files` writes them anew, which no transaction may contain and the caller does.

    Args:
        addresses: as whom the person writes; connector, account and person count.

    Returns: rows removed.
    Raises: DatabaseError: the database cannot be written.
    """
    removed = 0
    is_sqlite = engine.dialect.name == "sqlite"
    writing = engine.execution_options(immediate=True)
    async with database_errors("the archive could not be erased"), writing.begin() as connection:
        if is_sqlite:
            await connection.execute(text("PRAGMA secure_delete=ON"))
        own = select(ArchivedTurnRow.turn).where(
            _is_of(ArchivedTurnRow, addresses),
            ArchivedTurnRow.conversation == ArchivedFeedbackRow.conversation,
        )
        # What others think of answers to this person goes with the answers.
        judged = delete(ArchivedFeedbackRow).where(ArchivedFeedbackRow.turn.in_(own))
        removed += (await connection.execute(judged)).rowcount
        for table in _TABLES:
            removed += (await connection.execute(delete(table).where(_is_of(table, addresses)))).rowcount
        if is_sqlite:
            # Deleted entries stay in the index's segments until these are merged.
            await connection.execute(text(_MERGE))
    return removed


def _is_of(table: Any, addresses: Sequence[Address]) -> ColumnElement[bool]:
    return or_(
        False,
        *(
            (table.connector == address.connector)
            & (table.person == address.person)
            & (table.account == address.account if hasattr(table, "account") else True)
            for address in addresses
        ),
    )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
