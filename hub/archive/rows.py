"""What one event, or one row of a history, makes of the archive's tables."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.archive.archive import forgetting
from hub.archive.tables import ArchivedFactRow, ArchivedFeedbackRow, ArchivedTurnRow, place_of
from hub.bus.entries import entry_time
from hub.events import AnyEvent, DeliveryEvent, FeedbackEvent, TurnEvent
from hub.messages import Address, FactChange, Turn
from hub.people import identity_of

Texts = Mapping[tuple[str, str], Turn]
"""Turns by conversation and entry id."""

# What every message asks and writes. Made once: putting a statement together takes longer than carrying it out.
_OF_TURN = (
    ArchivedTurnRow.conversation == bindparam("of_conversation"),
    ArchivedTurnRow.turn == bindparam("of_turn"),
)
_KNOWN = select(ArchivedTurnRow.id).where(*_OF_TURN)
_ADD = insert(ArchivedTurnRow.__table__)  # type: ignore[arg-type]  # mapped classes have a Table
_TELL_WAY = (
    update(ArchivedTurnRow).where(*_OF_TURN).values(route=bindparam("by"), model=bindparam("of_model"))
)
_DELIVERED = (
    update(ArchivedTurnRow)
    .where(*_OF_TURN)
    .values(delivery=bindparam("state"), delivered_at=bindparam("at"), unclear_sends=bindparam("unclear"))
)


class Projection:
    """Applies events within one transaction; an event that is applied again changes nothing."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def apply(self, entry: str, event: AnyEvent, texts: Texts) -> None:
        """Write what an event says.

        Args:
            entry: its id on the stream, which tells when it happened.
            texts: the turns of the events, as far as the histories hold them.
        """
        match event:
            case TurnEvent() if event.conversation:
                await self._turn(entry, event, texts)
            case DeliveryEvent() if event.conversation:
                what = {"state": event.state, "at": entry_time(entry), "unclear": event.unclear}
                await self._connection.execute(_DELIVERED, _of(event.conversation, event.turn) | what)
            case FeedbackEvent():
                await self._feedback(entry, event)

    async def restore(self, conversation: str, turns: Sequence[Turn]) -> int:
        """Write the turns of a history, oldest first, unless they are there; returns how many were not."""
        new = 0
        for turn in turns:
            if turn.address is not None:
                new += await self._keep(_values(conversation, turn.address, turn))
                await self._facts(conversation, turn.address, turn)
        return new

    async def restore_fact(self, conversation: str, turn: str, fact: FactChange) -> int:
        """Write a fact of a turn that is here, unless it is there; returns how many were not.

        Without its turn nothing proves a fact, and it is passed over.
        """
        told = await self._told_in(conversation, turn)
        if told is None:
            return 0
        owner = told.person if told.is_group else ""
        return await self._add_fact(conversation, owner, fact, told)

    async def restore_judgement(self, event: FeedbackEvent, judged_at: datetime) -> int:
        """Write what somebody thinks of an answer that is here, unless they said so already; returns how many were not."""
        if await self._told_in(event.conversation, event.turn) is None:
            return 0
        known = await self._connection.execute(select(ArchivedFeedbackRow.value).where(*_judged(event)))
        if known.first() is not None:
            return 0
        await self._connection.execute(insert(ArchivedFeedbackRow).values(_judgement(event, judged_at)))
        return 1

    async def _told_in(self, conversation: str, turn: str) -> Any:
        row = ArchivedTurnRow
        query = select(
            row.turn,
            row.place,
            row.connector,
            row.account,
            row.person,
            row.identity,
            row.is_group,
            row.asked_at,
        )
        found = await self._connection.execute(query.where(*_OF_TURN), _of(conversation, turn))
        return found.first()

    async def _add_fact(self, conversation: str, owner: str, fact: FactChange, told: Any) -> int:
        """Write a fact unless it is there.

        Args:
            told: the turn: its id, place, who asked it and when.
        """
        row = ArchivedFactRow
        known = select(row.id).where(
            row.conversation == conversation, row.owner == owner, row.key == fact.key, row.turn == told.turn
        )
        if (await self._connection.execute(known)).first() is not None:
            return 0
        of_turn = ("turn", "place", "connector", "account", "person", "identity")
        await self._connection.execute(
            insert(row).values(
                conversation=conversation,
                owner=owner,
                key=fact.key,
                text=fact.text,
                quote=fact.quote,
                found_by=fact.found_by,
                told_at=told.asked_at,
                **{name: getattr(told, name) for name in of_turn},
            )
        )
        return 1

    async def _turn(self, entry: str, event: TurnEvent, texts: Texts) -> None:
        if event.replaces:
            await self._undo(event.conversation, event.replaces)
        if event.forgets:
            owner = event.person if event.is_group else ""
            for statement in forgetting(event.conversation, owner, event.turn):
                await self._connection.execute(statement)
            if event.forgets == "person" and event.identity:
                await self._connection.execute(
                    delete(ArchivedFactRow).where(
                        ArchivedFactRow.identity == event.identity,
                        ArchivedFactRow.owner == "",
                        ArchivedFactRow.place <= place_of(event.turn),
                    )
                )
            return
        if event.is_passing or event.kind_of_answer == "cancelled":
            return
        turn = texts.get((event.conversation, event.turn))
        if turn is not None and turn.address is not None:
            values = _values(event.conversation, turn.address, turn)
        else:
            values = _bare_values(entry, event)
        values |= {"route": event.route, "model": event.model}
        await self._keep(values)
        if turn is not None and turn.address is not None:
            await self._facts(event.conversation, turn.address, turn)

    async def _keep(self, values: dict[str, Any]) -> bool:
        turn = _of(values["conversation"], values["turn"])
        known = (await self._connection.execute(_KNOWN, turn)).first()
        if known is None:
            await self._connection.execute(_ADD, values)
        elif values["route"]:
            # It came from a history first, which does not tell these.
            way = {"by": values["route"], "of_model": values["model"]}
            await self._connection.execute(_TELL_WAY, turn | way)
        return known is None

    async def _undo(self, conversation: str, turn: str) -> None:
        tables: tuple[Any, ...] = (ArchivedTurnRow, ArchivedFactRow, ArchivedFeedbackRow)
        for row in tables:
            await self._connection.execute(
                delete(row).where(row.conversation == conversation, row.turn == turn)
            )

    async def _facts(self, conversation: str, address: Address, turn: Turn) -> None:
        owner = address.person if address.is_group else ""
        for change in turn.facts:
            same_key = (
                ArchivedFactRow.conversation == conversation,
                ArchivedFactRow.owner == owner,
                ArchivedFactRow.key == change.key,
            )
            if not change.text:
                older = ArchivedFactRow.place <= place_of(turn.turn)
                await self._connection.execute(delete(ArchivedFactRow).where(*same_key, older))
                continue
            told = SimpleNamespace(
                turn=turn.turn, place=place_of(turn.turn), asked_at=turn.asked_at, **_person(address)
            )
            await self._add_fact(conversation, owner, change, told)

    async def _feedback(self, entry: str, event: FeedbackEvent) -> None:
        await self._connection.execute(delete(ArchivedFeedbackRow).where(*_judged(event)))
        turn = _of(event.conversation, event.turn)
        if event.value and (await self._connection.execute(_KNOWN, turn)).first() is not None:
            judgement = _judgement(event, entry_time(entry))
            await self._connection.execute(insert(ArchivedFeedbackRow).values(judgement))


def _judged(event: FeedbackEvent) -> tuple[ColumnElement[bool], ...]:
    return (
        ArchivedFeedbackRow.conversation == event.conversation,
        ArchivedFeedbackRow.turn == event.turn,
        ArchivedFeedbackRow.person == event.person,
    )


def _judgement(event: FeedbackEvent, at: datetime) -> dict[str, Any]:
    names = ("conversation", "turn", "person", "connector", "value")
    return {name: getattr(event, name) for name in names} | {"judged_at": at}


def _of(conversation: str, turn: str) -> dict[str, Any]:
    return {"of_conversation": conversation, "of_turn": turn}


def _person(address: Address) -> dict[str, str]:
    return {
        "connector": address.connector,
        "account": address.account,
        "person": address.person,
        "identity": identity_of(address),
    }


def _values(conversation: str, address: Address, turn: Turn) -> dict[str, Any]:
    return {
        "conversation": conversation,
        "turn": turn.turn,
        "place": place_of(turn.turn),
        **_person(address),
        "is_group": address.is_group,
        "address": address.model_dump(mode="json"),
        "kind": turn.kind,
        "code": turn.code,
        "route": "",
        "model": turn.usage.model if turn.usage else "",
        "question": turn.question,
        "answer": turn.answer,
        "sources": [source.model_dump(mode="json") for source in turn.sources],
        "asked_at": turn.asked_at,
        "answered_at": turn.answered_at,
        "delivery": "",
        "delivered_at": None,
        "unclear_sends": 0,
    }


def _bare_values(entry: str, event: TurnEvent) -> dict[str, Any]:
    """Return what is known of a turn whose text was never kept, is forgotten, or was too old when it was archived."""
    asked_at = (
        datetime.fromtimestamp(event.asked_at_ms / 1000, UTC) if event.asked_at_ms else entry_time(entry)
    )
    return {
        "conversation": event.conversation,
        "turn": event.turn,
        "place": place_of(event.turn),
        "connector": event.connector,
        "account": event.account,
        "person": event.person,
        "identity": event.identity,
        "is_group": event.is_group,
        "address": None,
        "kind": event.kind_of_answer,
        "code": "",
        "route": event.route,
        "model": event.model,
        "question": "",
        "answer": "",
        "sources": [],
        "asked_at": asked_at,
        "answered_at": entry_time(entry),
        "delivery": "",
        "delivered_at": None,
        "unclear_sends": 0,
    }
