"""What one turn reads of a conversation's memory before it begins, and writes back in the step that commits it."""

import asyncio
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from engine.answers import Answer, Recollection
from engine.edits import NOTHING, Undone, undone_by
from engine.memory.style import Style
from engine.memory.summary import fold
from engine.memory.tiers import MemoryTiers, Remembered
from hub.bus.bus import Bus
from hub.bus.effects import (
    Effect,
    append_effect,
    delete_effect,
    replace_effect,
    set_effect,
    unset_effect,
)
from hub.bus.history import VERSION
from hub.bus.keys import Keys
from hub.commands import is_stop
from hub.facts import Fact
from hub.memory_settings import MemorySettings
from hub.messages import FactChange, InboundMessage, OutboundMessage, Turn
from hub.people import People, principal_of

if TYPE_CHECKING:
    from hub.archive.archive import Archive


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What was read for one turn."""

    recollection: Recollection
    remembered: Remembered = field(default_factory=Remembered)
    """What this conversation itself holds, as it was before the turn."""
    undone: Undone = NOTHING
    """What the message undoes, where it is an edit."""


class ConversationMemory:
    """Window, summary, facts, style and preferences of conversations.

    Args:
        people: tells in which other private conversations the same person told something.
        history_turns: turns kept in Redis.
        recalled_turns: the latest of them, which a turn is shown.
        settings: what is remembered at all.
        archive: where a conversation comes back from that Redis has lost; None where there is none.
    """

    def __init__(
        self,
        bus: Bus,
        people: People,
        *,
        history_turns: int,
        recalled_turns: int,
        settings: MemorySettings | None = None,
        archive: "Archive | None" = None,
    ) -> None:
        self._bus = bus
        self._people = people
        self._history_turns = history_turns
        self._recalled_turns = recalled_turns
        self._settings = settings or MemorySettings()
        self._archive = archive
        self._tiers = MemoryTiers(
            bus,
            archive,
            history_turns=history_turns,
            recalled_turns=recalled_turns,
            cached=self._settings.cached_conversations,
        )

    async def recall(self, message: InboundMessage, turn: str) -> Recalled:
        """Read what is remembered, as if what the message undoes had never been.

        Args:
            turn: its entry id.

        Raises: BusError: Redis is away.
        """
        conversation = message.conversation
        remembered, (elsewhere, style_elsewhere) = await asyncio.gather(
            # A request that belongs to no conversation has none to go on with.
            self._tiers.read(conversation, _owner(message), may_restore=not message.kept_s),
            self._told_elsewhere(message),
        )
        undone = await undone_by(self._bus, message, turn, remembered.facts)
        stopped = await self._bus.cancelled_by(conversation, turn) if is_stop(message.text) else 0
        proofs = _latest(elsewhere, undone.facts_left(remembered.facts))
        turns = remembered.turns
        recollection = Recollection(
            turns=turns[max(0, len(turns) - self._recalled_turns) :],
            all_turns=partial(self._all_turns, message, remembered, undone),
            facts={key: fact.text for key, fact in proofs.items()},
            proofs=proofs,
            style=remembered.style.joined(style_elsewhere),
            summary=remembered.summary,
            preferences=remembered.preferences,
            stopped=stopped,
        )
        if remembered.is_restored:
            # What came before the window is nowhere else but in these turns.
            recollection = replace(
                recollection, summary=fold(recollection.summary, turns, window=self._recalled_turns)
            )
        return Recalled(recollection=undone.taken_from(recollection), remembered=remembered, undone=undone)

    async def _all_turns(
        self, message: InboundMessage, remembered: Remembered, undone: Undone
    ) -> Sequence[Turn]:
        """Return the turns that are kept of a person's conversations, oldest first, but for the one that is undone."""
        conversation, history = message.conversation, self._bus.history
        others = await self._people.conversations(message.address, conversation)
        read = await asyncio.gather(
            *(history.turns(each, last=self._history_turns) for each in (conversation, *others))
        )
        # What came back from the archive is not in Redis yet.
        turns = [
            *(remembered.turns if remembered.is_restored else ()),
            *(turn for each in read for turn in each),
        ]
        return sorted((turn for turn in turns if turn.turn != undone.turn), key=lambda turn: turn.answered_at)

    def let_go(self, conversations: Collection[str]) -> None:
        """Hold nothing of conversations in this process any more; what is stored of them is not touched."""
        self._tiers.forget(conversations)

    def keep(
        self, message: InboundMessage, answer: Answer, reply: OutboundMessage, recalled: Recalled
    ) -> tuple[Effect, ...]:
        """Return the writes that remember a turn; a repeated attempt writes the same, under another version."""
        keys, conversation = self._bus.keys(message.conversation), message.conversation
        owner, ttl_s = _owner(message), message.kept_s or None
        version = secrets.token_hex(8)
        marked = set_effect(keys.version(conversation), {VERSION: version}, ttl_s=ttl_s)
        if answer.forget:
            self._tiers.drop(conversation, owner)
            return (*self._forget(message), marked)
        before, undone = recalled.remembered, recalled.undone
        turn = _turn(message, answer, reply)
        effects = [
            *(self._restored(message, before, ttl_s) if before.is_restored else ()),
            self._row(keys.history(conversation), turn, undone, ttl_s),
            _known(keys, message, ttl_s),
            marked,
        ]
        facts, changed, gone = _facts_after(message, answer, turn, before, undone)
        key = keys.facts(conversation, owner)
        if gone:
            effects.append(unset_effect(key, gone))
        if changed:
            fields = {name: fact.to_field() for name, fact in changed.items()}
            effects.append(set_effect(key, fields, ttl_s=ttl_s))
        if answer.preferences:
            effects.append(set_effect(keys.preferences(conversation), answer.preferences, ttl_s=ttl_s))
        style = self._style_after(message, answer, recalled)
        if style != before.style:
            style_key = keys.style(conversation, owner)
            # Whole, so that what is not counted any more goes.
            effects += [delete_effect(style_key), set_effect(style_key, style.fields(), ttl_s=ttl_s)]
        turns = [*(one for one in before.turns if one.turn != undone.turn), turn]
        folded = fold(before.summary, turns, window=self._recalled_turns)
        if folded != before.summary:
            # Computed from what was read and written whole: a repeated attempt writes the same.
            effects.append(set_effect(keys.summary(conversation), folded.fields(), ttl_s=ttl_s))
        if undone.turn:
            # Where the row stands now is for the next turn to read.
            self._tiers.drop(conversation, owner)
        else:
            after = Remembered(
                turns=tuple(turns[-self._recalled_turns - 1 :]),
                facts=facts,
                summary=folded,
                preferences={**before.preferences, **answer.preferences},
                style=style,
            )
            self._tiers.hold(conversation, owner, version, after)
        return tuple(effects)

    async def forget_elsewhere(self, message: InboundMessage, answer: Answer, turn: str) -> None:
        """Forget what an answer promises to forget, wherever its commit does not reach; repeating is safe.

        It comes before the commit: when it fails, nobody has been told that it was done.

        Raises:
            BusError: Redis is away.
            DatabaseError: the archive cannot be written.
        """
        if not answer.forget and not answer.forgotten:
            return
        conversation, owner = message.conversation, _owner(message)
        others: list[str] = []
        if answer.forget == "person" or answer.forgotten:
            others = await self._people.conversations(message.address, conversation)
            await asyncio.gather(
                *(self._bus.history.forget_facts(other, answer.forgotten) for other in others)
            )
        if self._archive is None:
            return
        if answer.forget:
            await self._archive.forget(conversation, owner, before=turn)
        if answer.forgotten:
            await self._archive.forget_own_facts(conversation, owner, answer.forgotten)
        await self._archive.forget_facts(others, answer.forgotten)

    def _style_after(self, message: InboundMessage, answer: Answer, recalled: Recalled) -> Style:
        style = recalled.remembered.style
        if answer.style:
            style = replace(style, chosen={**style.chosen, **answer.style})
            # Whoever does not want to be learned from does not want the counts kept either.
            return style if style.is_learning else Style(chosen=style.chosen)
        is_learning = self._settings.learn_style and recalled.recollection.style.is_learning
        # What a client lets a model continue, or asks on its own, is no message of somebody's conversation; and what an
        # operator says is no message of theirs.
        is_own = not message.kept_s and not message.is_forwarded and not message.spoken
        is_said = message.generation is None and is_own
        return style.learned_from(message.text) if is_learning and is_said else style

    def _restored(self, message: InboundMessage, before: Remembered, ttl_s: int | None) -> tuple[Effect, ...]:
        """Put back into Redis what came from the archive, in the step that goes on from it."""
        keys, conversation = self._bus.keys(message.conversation), message.conversation
        effects = [
            append_effect(keys.history(conversation), _bytes(turn), keep=self._history_turns, ttl_s=ttl_s)
            for turn in before.turns
        ]
        if before.facts:
            fields = {key: fact.to_field() for key, fact in before.facts.items()}
            effects.append(set_effect(keys.facts(conversation, _owner(message)), fields, ttl_s=ttl_s))
        return tuple(effects)

    def _row(self, history: str, turn: Turn, undone: Undone, ttl_s: int | None) -> Effect:
        row = _bytes(turn)
        if undone.row:
            return replace_effect(history, undone.row, row, keep=self._history_turns, ttl_s=ttl_s)
        return append_effect(history, row, keep=self._history_turns, ttl_s=ttl_s)

    def _forget(self, message: InboundMessage) -> tuple[Effect, ...]:
        keys, conversation, owner = (
            self._bus.keys(message.conversation),
            message.conversation,
            _owner(message),
        )
        return tuple(
            delete_effect(key)
            for key in (
                keys.history(conversation),
                keys.facts(conversation, owner),
                keys.style(conversation, owner),
                keys.summary(conversation),
                keys.preferences(conversation),
                keys.receipts(conversation),
            )
        )

    async def _told_elsewhere(self, message: InboundMessage) -> tuple[Mapping[str, Fact], Style]:
        """Return what the same person told and showed in other private conversations; the latest counts most."""
        address, conversation, history = message.address, message.conversation, self._bus.history
        if not message.spoken:
            await self._people.note(address, conversation)
        others = await self._people.conversations(address, conversation)
        told, styles = await asyncio.gather(
            asyncio.gather(*(history.proven_facts(other) for other in others)),
            asyncio.gather(*(history.style(other) for other in others)),
        )
        style = Style()
        for fields in styles:
            style = Style.from_fields(fields).joined(style)
        facts: dict[str, Fact] = {}
        for one in told:
            facts = _latest(facts, one)
        return facts, style


def _latest(known: Mapping[str, Fact], more: Mapping[str, Fact]) -> dict[str, Fact]:
    """Join facts of several conversations; of two of one key the one told later holds, the second of equals."""
    joined = dict(known)
    for key, fact in more.items():
        if key not in joined or fact.age_key >= joined[key].age_key:
            joined[key] = fact
    return joined


def _facts_after(
    message: InboundMessage, answer: Answer, turn: Turn, before: Remembered, undone: Undone
) -> tuple[dict[str, Fact], dict[str, Fact], list[str]]:
    """Return a conversation's facts after a turn, those that the turn changes, and the keys of those that go."""
    facts = undone.facts_left(before.facts)
    for change in turn.facts:
        if not change.text:
            facts.pop(change.key, None)
            continue
        fact = Fact(
            text=change.text,
            quote=change.quote,
            turn=turn.turn,
            told_at=message.received_at,
            audience="group" if message.address.is_group else "private",
            found_by=change.found_by,
        )
        facts[change.key] = fact.after(facts.get(change.key))
    changed = {key: fact for key, fact in facts.items() if before.facts.get(key) != fact}
    gone = [key for key in (*before.facts, *answer.forgotten) if key not in facts]
    return facts, changed, gone


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


def _bytes(turn: Turn) -> bytes:
    return turn.model_dump_json().encode("utf-8", "replace")


def _turn(message: InboundMessage, answer: Answer, reply: OutboundMessage) -> Turn:
    learned = (
        answer.proofs.get(key, FactChange(key=key)).model_copy(update={"text": text})
        for key, text in answer.facts.items()
    )
    return Turn(
        turn=reply.turn,
        address=message.address,
        question=message.question,
        answer=answer.text,
        kind=answer.kind,
        code=answer.code,
        sources=answer.sources,
        usage=answer.usage,
        who=principal_of(message.address) if message.address.is_group else "",
        facts=(*(FactChange(key=key) for key in answer.forgotten), *learned),
        asked_at=message.received_at,
        answered_at=reply.created_at,
    )
