"""Conversations as operators look through them: who talks where, and what was said, from the archive or from Redis."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Integer, Select, and_, case, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from hub.archive.tables import ArchivedTurnRow, place_of
from hub.bus.history import History
from hub.database import database_errors
from hub.erasure.person import Principal
from hub.messages import Turn

ALL_TURNS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedConversations:
    """Which conversations: those with a turn for which every part that is set holds."""

    connector: str = ""
    person: Principal | None = None
    since: datetime | None = None
    until: datetime | None = None
    """That moment excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSummary:
    """One conversation, with all of its turns that are kept."""

    id: str
    connector: str
    account: str
    person: str
    """Who talks; empty where several people do."""
    is_group: bool
    turns: int
    begun_at: datetime
    last_turn: datetime
    place: str
    """Where its latest turn stands among all turns, as `place_of` writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldTurn:
    """One turn, and what became of its reply as far as that is known."""

    turn: Turn
    route: str = ""
    model: str = ""
    delivery: str = ""
    """`placed`, `failed` or `gave_up`; empty while it is under way, or where nobody keeps that."""


class Conversations(Protocol):
    """Where conversations are kept; every method raises HubError where that is away."""

    async def page(
        self, wanted: WantedConversations, after: tuple[str, str] | None, limit: int
    ) -> Sequence[ConversationSummary]:
        """List conversations, that with the latest turn first.

        Args:
            after: place and id of the last one of the page before.
        """

    async def one(self, conversation: str) -> ConversationSummary | None:
        """Tell of one; None where nothing is kept of it."""

    async def turns(self, conversation: str, before: str, limit: int) -> Sequence[ToldTurn]:
        """List the turns of a conversation, the latest first.

        Args:
            before: the turn that the page before ended with; empty: from the latest on.
        """


class ArchivedConversations:
    """Reads the archive, which holds every turn that was not forgotten."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self, wanted: WantedConversations, after: tuple[str, str] | None, limit: int
    ) -> Sequence[ConversationSummary]:
        """List conversations, that with the latest turn first."""
        row, latest = ArchivedTurnRow, func.max(ArchivedTurnRow.place)
        query = _summaries().order_by(latest.desc(), row.conversation).limit(limit)
        if conditions := _conditions(wanted):
            query = query.where(row.conversation.in_(select(row.conversation).where(*conditions)))
        if after is not None:
            place, conversation = after
            query = query.having(or_(latest < place, and_(latest == place, row.conversation > conversation)))
        async with database_errors("the conversations could not be read"), self._engine.connect() as reading:
            return [ConversationSummary(**one._mapping) for one in await reading.execute(query)]

    async def one(self, conversation: str) -> ConversationSummary | None:
        """Tell of one; None where nothing is kept of it."""
        query = _summaries().where(ArchivedTurnRow.conversation == conversation)
        async with database_errors("the conversations could not be read"), self._engine.connect() as reading:
            found = (await reading.execute(query)).one_or_none()
        return ConversationSummary(**found._mapping) if found is not None else None

    async def turns(self, conversation: str, before: str, limit: int) -> Sequence[ToldTurn]:
        """List the turns of a conversation, the latest first."""
        row = ArchivedTurnRow
        query = select(row).where(row.conversation == conversation).order_by(row.place.desc()).limit(limit)
        if before:
            query = query.where(row.place < place_of(before))
        async with (
            database_errors("the conversations could not be read"),
            AsyncSession(self._engine) as session,
        ):
            return [
                ToldTurn(turn=one.to_turn(), route=one.route, model=one.model, delivery=one.delivery)
                for one in await session.scalars(query)
            ]


class KeptConversations:
    """Reads the windows in Redis, for a hub that keeps no archive: the latest turns of each conversation."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def page(
        self, wanted: WantedConversations, after: tuple[str, str] | None, limit: int
    ) -> Sequence[ConversationSummary]:
        """List conversations, that with the latest turn first."""
        found: dict[str, ConversationSummary] = {}
        async for conversation in self._history.conversations():
            turns = await self._told(conversation)
            if turns and any(_holds(wanted, turn) for turn in turns):
                found[conversation] = _summary(conversation, turns)
        later = [one for one in found.values() if after is None or _order(one.place, one.id) > _order(*after)]
        return heapq.nsmallest(limit, later, key=lambda one: _order(one.place, one.id))

    async def one(self, conversation: str) -> ConversationSummary | None:
        """Tell of one; None where nothing is kept of it."""
        turns = await self._told(conversation)
        return _summary(conversation, turns) if turns else None

    async def turns(self, conversation: str, before: str, limit: int) -> Sequence[ToldTurn]:
        """List the turns of a conversation, the latest first."""
        turns = sorted(await self._told(conversation), key=lambda turn: place_of(turn.turn), reverse=True)
        found = [turn for turn in turns if not before or place_of(turn.turn) < place_of(before)]
        return [ToldTurn(turn=turn, model=turn.usage.model if turn.usage else "") for turn in found[:limit]]

    async def _told(self, conversation: str) -> list[Turn]:
        """Return the turns of which it is known who asked."""
        turns = await self._history.turns(conversation, ALL_TURNS)
        return [turn for turn in turns if turn.address is not None]


def _order(place: str, conversation: str) -> tuple[int, str]:
    return -int(place or 0), conversation


def _summary(conversation: str, turns: Sequence[Turn]) -> ConversationSummary:
    addresses = [turn.address for turn in turns if turn.address is not None]
    people, last = {address.person for address in addresses}, addresses[-1]
    return ConversationSummary(
        id=conversation,
        connector=last.connector,
        account=last.account,
        person=last.person if len(people) == 1 else "",
        is_group=any(address.is_group for address in addresses),
        turns=len(turns),
        begun_at=min(turn.asked_at for turn in turns),
        last_turn=max(turn.asked_at for turn in turns),
        place=max(place_of(turn.turn) for turn in turns),
    )


def _holds(wanted: WantedConversations, turn: Turn) -> bool:
    address = turn.address
    if address is None or wanted.connector not in ("", address.connector):
        return False
    if wanted.person is not None and wanted.person != Principal(
        connector=address.connector, account=address.account, person=address.person
    ):
        return False
    is_late_enough = wanted.since is None or turn.asked_at >= wanted.since
    return is_late_enough and (wanted.until is None or turn.asked_at < wanted.until)


def _conditions(wanted: WantedConversations) -> list[ColumnElement[bool]]:
    row = ArchivedTurnRow
    found: list[ColumnElement[bool]] = []
    if wanted.connector:
        found.append(row.connector == wanted.connector)
    if wanted.person is not None:
        found += [
            row.connector == wanted.person.connector,
            row.account == wanted.person.account,
            row.person == wanted.person.person,
        ]
    if wanted.since is not None:
        found.append(row.asked_at >= wanted.since)
    if wanted.until is not None:
        found.append(row.asked_at < wanted.until)
    return found


def _summaries() -> "Select[Any]":
    row = ArchivedTurnRow
    is_alone = func.count(row.person.distinct()) == 1
    return select(
        row.conversation.label("id"),
        func.max(row.connector).label("connector"),
        func.max(row.account).label("account"),
        case((is_alone, func.max(row.person)), else_="").label("person"),
        (func.max(cast(row.is_group, Integer)) == 1).label("is_group"),
        func.count().label("turns"),
        func.min(row.asked_at).label("begun_at"),
        func.max(row.asked_at).label("last_turn"),
        func.max(row.place).label("place"),
    ).group_by(row.conversation)
