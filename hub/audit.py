"""The audit log: one entry for each change that an operator, a key or a command makes or was refused, and each key that
somebody was given who asked for one.

An entry is written before anything is changed and gets its outcome once: no change goes without an entry, and one
that was killed half-way is seen. Beyond that the database itself refuses to change entries; age alone removes them.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import structlog
from sqlalchemy import JSON, ColumnElement, Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.orm import Mapped, mapped_column

from hub.database import Base, StoredText, UtcDateTime, database_errors
from hub.messages import utc_now

log = structlog.get_logger(__name__)

ActorKind = Literal["operator", "key", "command", "anybody"]
"""`anybody`: who needs no key for what they do, and is told by their address alone."""
Outcome = Literal["begun", "done", "unchanged", "refused", "failed"]
"""`begun`: it is under way, or the process was killed. `unchanged`: all was as it should be. `refused`: nothing was
done, `code` says why. `failed`: it broke, and some of it may be done."""
OUTCOMES: tuple[Outcome, ...] = ("begun", "done", "unchanged", "refused", "failed")


class AuditRow(Base):
    """One entry; ids and numbers only, never what people are called or have said, and no secret."""

    __tablename__ = "audit"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy reads it as it stands

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    actor_kind: Mapped[str] = mapped_column(StoredText)
    actor: Mapped[str] = mapped_column(StoredText, index=True)
    actor_name: Mapped[str] = mapped_column(StoredText)
    address: Mapped[str] = mapped_column(StoredText)
    request: Mapped[str] = mapped_column(StoredText)
    action: Mapped[str] = mapped_column(StoredText, index=True)
    change: Mapped[str] = mapped_column(StoredText)
    target: Mapped[str] = mapped_column(StoredText)
    outcome: Mapped[str] = mapped_column(StoredText)
    code: Mapped[str] = mapped_column(StoredText)
    numbers: Mapped[dict[str, int]] = mapped_column(JSON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Who is about to change what."""

    actor_kind: ActorKind
    actor: str
    """Id of the operator or the key; of a command the user of the machine; empty for `anybody`."""
    action: str
    """What is asked for: the name of a route or a command."""
    actor_name: str = ""
    """What the operator was called then."""
    address: str = ""
    """From where; empty for commands."""
    request: str = ""
    """Id of the request, as the log names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of it."""

    outcome: Outcome
    change: str = ""
    """What was done, such as `collection_removed`; empty where nothing was."""
    target: str = ""
    """Id of what it was done to."""
    code: str = ""
    """Why it was refused or failed."""
    numbers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry as it is read."""

    id: int
    at: datetime
    actor_kind: str
    actor: str
    actor_name: str
    address: str
    request: str
    action: str
    change: str
    target: str
    outcome: str
    code: str
    numbers: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which entries; what is empty does not matter."""

    actor: str = ""
    actor_kind: str = ""
    action: str = ""
    change: str = ""
    target: str = ""
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None
    """Up to but not including."""

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return them for a statement."""
        named = ("actor", "actor_kind", "action", "change", "target", "outcome")
        found: list[ColumnElement[bool]] = [
            getattr(AuditRow, name) == value for name in named if (value := getattr(self, name))
        ]
        if self.since is not None:
            found.append(AuditRow.at >= self.since)
        if self.until is not None:
            found.append(AuditRow.at < self.until)
        return found


class AuditLog:
    """The entries.

    Args:
        engine: the database, with its tables up to date.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def begin(self, attempt: Attempt) -> int:
        """Write that a change is about to be made.

        Returns: the entry's id, for `end`.
        Raises: DatabaseError: nothing was written, and nothing may be changed.
        """
        return await self._insert(attempt, Result(outcome="begun"))

    async def end(self, entry: int, result: Result) -> None:
        """Write what came of it; a second outcome of an entry is refused.

        Raises: DatabaseError: the entry stays `begun`.
        """
        values = {**_columns(result), "numbers": dict(result.numbers)}
        async with self._opened("written") as connection:
            await connection.execute(update(AuditRow).where(AuditRow.id == entry).values(values))

    async def write(self, attempt: Attempt, result: Result) -> None:
        """Write what is over already.

        Raises: DatabaseError: nothing was written.
        """
        await self._insert(attempt, result)

    async def entries(self, which: Filter, *, before: int = 0, limit: int = 50) -> Sequence[Entry]:
        """Return entries, the latest first.

        Args:
            before: the id that the page before ended with; 0 begins with the latest.

        Raises: DatabaseError: they could not be read.
        """
        statement = select(AuditRow).where(*which.conditions()).order_by(AuditRow.id.desc()).limit(limit)
        if before:
            statement = statement.where(AuditRow.id < before)
        async with self._opened("read") as connection:
            return [_entry(row) for row in await connection.execute(statement)]

    async def trim(self, days: int) -> int:
        """Remove entries that are older; returns how many.

        Raises: DatabaseError: none was removed.
        """
        old = delete(AuditRow).where(AuditRow.at < utc_now() - timedelta(days=days))
        async with self._opened("trimmed") as connection:
            removed = (await connection.execute(old)).rowcount
        if removed:
            log.info("audit_trimmed", entries=removed)
        return removed

    async def _insert(self, attempt: Attempt, result: Result) -> int:
        values = {
            "at": utc_now(),
            **{name: getattr(attempt, name) for name in Attempt.__dataclass_fields__},
            **_columns(result),
            "numbers": dict(result.numbers),
        }
        async with self._opened("written") as connection:
            done = await connection.execute(insert(AuditRow).values(values).returning(AuditRow.id))
            return int(done.scalar_one())

    @asynccontextmanager
    async def _opened(self, what: str) -> AsyncIterator[AsyncConnection]:
        # Each is one statement and needs no turn of its own.
        async with database_errors(f"the audit log could not be {what}"), self._engine.begin() as connection:
            yield connection


def _columns(result: Result) -> dict[str, Any]:
    return {name: getattr(result, name) for name in ("outcome", "change", "target", "code")}


def _entry(row: Row[Any]) -> Entry:
    return Entry(**{name: getattr(row, name) for name in Entry.__dataclass_fields__})
