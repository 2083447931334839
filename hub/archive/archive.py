"""The archive as everybody else uses it: recall a lost conversation, search one's own history, forget."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Delete, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from hub.archive.search import matching
from hub.archive.tables import ArchivedFactRow, ArchivedFeedbackRow, ArchivedTurnRow, place_of
from hub.database import database_errors
from hub.facts import Fact
from hub.messages import Turn

MAX_FOUND = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Whose history is searched, and where: the rules of who may see what are applied by whoever makes one."""

    conversations: Collection[str]
    """Conversations that may be looked into."""
    person: str = ""
    """In a conversation of several: whose turns alone; empty in private ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What is known of a conversation from the archive."""

    turns: Sequence[Turn] = ()
    """The latest, oldest first."""
    facts: dict[str, Fact] = field(default_factory=dict)


class Archive:
    """Reads and forgets; what there is to read is written by the projector.

    Args:
        engine: the database, with its tables up to date.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def recall(self, conversation: str, owner: str, *, last: int) -> Archived:
        """Return what was said in a conversation, and the facts that one person told in it.

        Args:
            owner: the person in a group; empty in a private conversation.
            last: the most turns.

        Raises: DatabaseError: the database cannot be read.
        """
        turns = (
            select(ArchivedTurnRow)
            .where(ArchivedTurnRow.conversation == conversation, ArchivedTurnRow.question != "")
            .order_by(ArchivedTurnRow.place.desc())
            .limit(last)
        )
        facts = (
            select(ArchivedFactRow)
            .where(ArchivedFactRow.conversation == conversation, ArchivedFactRow.owner == owner)
            .order_by(ArchivedFactRow.place)
        )
        async with database_errors("the archive could not be read"), AsyncSession(self._engine) as session:
            found = [row.to_turn() for row in await session.scalars(turns)]
            told = list(await session.scalars(facts))
        return Archived(turns=found[::-1], facts=_current(told))

    async def search(self, reader: Reader, words: str, *, limit: int = 10) -> list[Turn]:
        """Find turns that hold all of some words, the latest first.

        Args:
            words: as they were typed; a word is found by its beginning, too.
            limit: 1 to MAX_FOUND.

        Returns: nothing where there is no word in `words`.
        Raises: DatabaseError: the database cannot be read.
        """
        if not reader.conversations:
            return []
        own: list[ColumnElement[bool]] = [ArchivedTurnRow.conversation.in_(sorted(reader.conversations))]
        if reader.person:
            own.append(ArchivedTurnRow.person == reader.person)
        async with (
            database_errors("the archive could not be searched"),
            AsyncSession(self._engine) as session,
        ):
            for condition in matching(words, self._engine.dialect.name):
                query = (
                    select(ArchivedTurnRow)
                    .where(*own, condition)
                    .order_by(ArchivedTurnRow.place.desc())
                    .limit(max(1, min(limit, MAX_FOUND)))
                )
                if found := [row.to_turn() for row in await session.scalars(query)]:
                    return found
        return []

    async def forget(self, conversation: str, owner: str, *, before: str) -> None:
        """Remove a conversation's turns up to one, and what one person told in them; repeating is safe.

        Args:
            owner: the person in a group; empty in a private conversation.

        Raises: DatabaseError: the database cannot be written.
        """
        async with self._writing("the archive could not forget a conversation") as connection:
            for statement in forgetting(conversation, owner, before):
                await connection.execute(statement)

    async def forget_facts(self, conversations: Collection[str], keys: Collection[str] = ()) -> None:
        """Remove facts told in private conversations, with what they had replaced.

        Args:
            keys: which of them; empty: all.

        Raises: DatabaseError: the database cannot be written.
        """
        if not conversations:
            return
        statement = delete(ArchivedFactRow).where(
            ArchivedFactRow.conversation.in_(sorted(conversations)), ArchivedFactRow.owner == ""
        )
        if keys:
            statement = statement.where(ArchivedFactRow.key.in_(sorted(keys)))
        async with self._writing("the archive could not forget facts") as connection:
            await connection.execute(statement)

    async def forget_own_facts(self, conversation: str, owner: str, keys: Collection[str]) -> None:
        """Remove facts that one person told in one conversation, with what they had replaced.

        Raises: DatabaseError: the database cannot be written.
        """
        statement = delete(ArchivedFactRow).where(
            ArchivedFactRow.conversation == conversation,
            ArchivedFactRow.owner == owner,
            ArchivedFactRow.key.in_(sorted(keys)),
        )
        async with self._writing("the archive could not forget facts") as connection:
            await connection.execute(statement)

    async def expire(self, before: datetime) -> int:
        """Remove turns that were asked before a time, and return how many.

        Raises: DatabaseError: the database cannot be written.
        """
        old = ArchivedTurnRow.asked_at < before
        judged = select(ArchivedTurnRow.turn).where(
            old, ArchivedTurnRow.conversation == ArchivedFeedbackRow.conversation
        )
        async with self._writing("the archive could not be shortened") as connection:
            await connection.execute(delete(ArchivedFeedbackRow).where(ArchivedFeedbackRow.turn.in_(judged)))
            removed = await connection.execute(delete(ArchivedTurnRow).where(old))
        return removed.rowcount

    @asynccontextmanager
    async def _writing(self, what: str) -> AsyncIterator[AsyncConnection]:
        engine = self._engine.execution_options(immediate=True)
        async with database_errors(what), engine.begin() as connection:
            yield connection


def forgetting(conversation: str, owner: str, before: str) -> list[Delete]:
    """Return what removes a conversation's turns up to one, their judgements, and what one person told in them."""
    place = place_of(before)
    turns = (ArchivedTurnRow.conversation == conversation, ArchivedTurnRow.place <= place)
    return [
        delete(ArchivedFeedbackRow).where(
            ArchivedFeedbackRow.conversation == conversation,
            ArchivedFeedbackRow.turn.in_(select(ArchivedTurnRow.turn).where(*turns)),
        ),
        delete(ArchivedFactRow).where(
            ArchivedFactRow.conversation == conversation,
            ArchivedFactRow.owner == owner,
            ArchivedFactRow.place <= place,
        ),
        delete(ArchivedTurnRow).where(*turns),
    ]


def _current(rows: Sequence[ArchivedFactRow]) -> dict[str, Fact]:
    """Put each current fact together with those it has replaced.

    Args:
        rows: of one owner, oldest first.
    """
    facts: dict[str, Fact] = {}
    for row in rows:
        fact = Fact.model_validate(
            {
                "text": row.text,
                "quote": row.quote,
                "turn": row.turn,
                "told_at": row.told_at,
                "audience": "group" if row.owner else "private",
                "found_by": row.found_by,
            }
        )
        facts[row.key] = fact.after(facts.get(row.key))
    return facts
