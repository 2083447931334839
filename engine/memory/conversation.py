"""What one turn reads of a conversation's memory before it begins, and writes back in the step that commits it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from engine.answers import Answer, Recollection
from engine.edits import NOTHING, Undone, undone_by
from engine.memory.summary import Summary, fold
from hub.bus.bus import Bus
from hub.bus.effects import (
    Effect,
    append_effect,
    delete_effect,
    replace_effect,
    set_effect,
    unset_effect,
)
from hub.bus.keys import Keys
from hub.commands import is_stop
from hub.messages import InboundMessage, OutboundMessage, Turn
from hub.people import People, principal_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What was read for one turn."""

    recollection: Recollection
    unfolded: tuple[Turn, ...] = ()
    """The latest turns, of which some may not be in the summary yet."""
    undone: Undone = NOTHING
    """What the message undoes, where it is an edit."""


class ConversationMemory:
    """Window, summary, facts and preferences of conversations, as Redis holds them.

    Args:
        people: tells in which other private conversations the same person told something.
        history_turns: turns kept.
        recalled_turns: the latest of them, which a turn is shown.
    """

    def __init__(self, bus: Bus, people: People, *, history_turns: int, recalled_turns: int) -> None:
        self._bus = bus
        self._people = people
        self._history_turns = history_turns
        self._recalled_turns = recalled_turns

    async def recall(self, message: InboundMessage, turn: str) -> Recalled:
        """Read what is remembered, as if what the message undoes had never been.

        Args:
            turn: its entry id.

        Raises: BusError: Redis is away.
        """
        history, conversation = self._bus.history, message.conversation
        turns, facts, elsewhere, fields, preferences = await asyncio.gather(
            # The turn before the window shows whether the summary has come as far as the window begins.
            history.turns(conversation, last=self._recalled_turns + 1),
            history.facts(conversation, _owner(message)),
            self._told_elsewhere(message),
            history.summary(conversation),
            history.preferences(conversation),
        )
        summary = Summary.from_fields(fields)
        if len(turns) > self._recalled_turns and not summary.holds(turns[0]):
            # There was no summary yet, or the window has become smaller.
            turns = await history.turns(conversation, last=self._history_turns)
        undone = await undone_by(self._bus, message, turn, facts)
        stopped = await self._bus.cancelled_by(conversation, turn) if is_stop(message.text) else 0
        recollection = Recollection(
            turns=turns[max(0, len(turns) - self._recalled_turns) :],
            facts={**elsewhere, **undone.facts_left(facts)},
            summary=summary,
            preferences=preferences,
            stopped=stopped,
        )
        return Recalled(recollection=undone.taken_from(recollection), unfolded=tuple(turns), undone=undone)

    def keep(
        self, message: InboundMessage, answer: Answer, reply: OutboundMessage, recalled: Recalled
    ) -> tuple[Effect, ...]:
        """Return the writes that remember a turn; a repeated attempt writes the same."""
        if answer.forget:
            return self._forget(message)
        conversation, ttl_s = message.conversation, message.kept_s or None
        keys, undone = self._bus.keys(conversation), recalled.undone
        turn = _turn(message, answer, reply)
        effects = [self._row(keys.history(conversation), turn, undone, ttl_s), _known(keys, message, ttl_s)]
        facts = keys.facts(conversation, _owner(message))
        if undone.facts:
            effects.append(unset_effect(facts, undone.facts))
        if answer.facts:
            effects.append(set_effect(facts, answer.facts, ttl_s=ttl_s))
        if answer.preferences:
            effects.append(set_effect(keys.preferences(conversation), answer.preferences, ttl_s=ttl_s))
        summary = recalled.recollection.summary
        others = [one for one in recalled.unfolded if one.turn != undone.turn]
        folded = fold(summary, [*others, turn], window=self._recalled_turns)
        if folded != summary:
            # Computed from what was read and written whole: a repeated attempt writes the same.
            effects.append(set_effect(keys.summary(conversation), folded.fields(), ttl_s=ttl_s))
        return tuple(effects)

    async def forget_elsewhere(self, message: InboundMessage) -> None:
        """Forget what the same person told in other private conversations; repeating is safe.

        Raises: BusError: Redis is away.
        """
        others = await self._people.conversations(message.address, message.conversation)
        await asyncio.gather(*(self._bus.history.forget_facts(other) for other in others))

    def _row(self, history: str, turn: Turn, undone: Undone, ttl_s: int | None) -> Effect:
        row = turn.model_dump_json().encode("utf-8", "replace")
        if undone.row:
            return replace_effect(history, undone.row, row, keep=self._history_turns, ttl_s=ttl_s)
        return append_effect(history, row, keep=self._history_turns, ttl_s=ttl_s)

    def _forget(self, message: InboundMessage) -> tuple[Effect, ...]:
        keys: Keys = self._bus.keys(message.conversation)
        conversation = message.conversation
        return tuple(
            delete_effect(key)
            for key in (
                keys.history(conversation),
                keys.facts(conversation, _owner(message)),
                keys.summary(conversation),
                keys.preferences(conversation),
                keys.receipts(conversation),
            )
        )

    async def _told_elsewhere(self, message: InboundMessage) -> Mapping[str, str]:
        """Return what the same person told in other private conversations; the latest used counts most."""
        address, conversation = message.address, message.conversation
        await self._people.note(address, conversation)
        others = await self._people.conversations(address, conversation)
        told = await asyncio.gather(*(self._bus.history.facts(other) for other in others))
        return {key: fact for facts in told for key, fact in facts.items()}


def _known(keys: Keys, message: InboundMessage, ttl_s: int | None) -> Effect:
    """Return the write that lets all that is kept of a person be found again, to be shown to them or erased."""
    address = message.address
    fields = {
        "as": address.model_dump_json(include={"connector", "account", "person", "is_verified"}),
        f"in:{message.conversation}": "group" if address.is_group else "private",
    }
    return set_effect(keys.known(principal_of(address)), fields, ttl_s=ttl_s)


def _owner(message: InboundMessage) -> str:
    """Say whose facts a conversation keeps apart: in a group those of each person."""
    return message.address.person if message.address.is_group else ""


def _turn(message: InboundMessage, answer: Answer, reply: OutboundMessage) -> Turn:
    return Turn(
        turn=reply.turn,
        question=message.question,
        answer=answer.text,
        kind=answer.kind,
        code=answer.code,
        sources=answer.sources,
        usage=answer.usage,
        who=principal_of(message.address) if message.address.is_group else "",
        asked_at=message.received_at,
        answered_at=reply.created_at,
    )
