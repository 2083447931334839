"""What an edited message undoes: the turn of its earlier text, and what was learned from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from engine.answers import Recollection
from engine.memory.facts import learn_facts
from hub.bus.bus import Bus
from hub.facts import Fact
from hub.messages import InboundMessage, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """The earlier turn of a message that was edited."""

    turn: str = ""
    """Entry id; empty where nothing is to be undone."""
    row: bytes = b""
    """As the history keeps it; empty where it does so no more."""
    facts: Mapping[str, Fact | None] = field(default_factory=dict)
    """What is left of each fact that its text had a part in: what had held before it, or None."""

    def facts_left(self, facts: Mapping[str, Fact]) -> dict[str, Fact]:
        """Return the facts as if that turn had never been."""
        left = {key: self.facts.get(key, fact) for key, fact in facts.items()}
        return {key: fact for key, fact in left.items() if fact is not None}

    def taken_from(self, recollection: Recollection) -> Recollection:
        """Return what would be remembered if that turn had never been; its facts apart."""
        turns = [turn for turn in recollection.turns if turn.turn != self.turn]
        return replace(recollection, turns=turns)


NOTHING = Undone()


async def undone_by(bus: Bus, message: InboundMessage, turn: str, facts: Mapping[str, Fact]) -> Undone:
    """Find what a message undoes.

    Args:
        turn: its own.
        facts: what is remembered of its person in this conversation.

    Raises: BusError: Redis is away.
    """
    earlier = await bus.replaced_turn(message, turn)
    if not earlier:
        return NOTHING
    found = await bus.history.row(message.conversation, earlier)
    if found is None:
        return Undone(turn=earlier, facts=_without(earlier, facts))
    kept, row = found
    return Undone(turn=earlier, row=row, facts={**_unproven(kept, facts), **_without(earlier, facts)})


def _without(turn: str, facts: Mapping[str, Fact]) -> dict[str, Fact | None]:
    left = {key: fact.without(turn) for key, fact in facts.items()}
    return {key: fact for key, fact in left.items() if fact != facts[key]}


def _unproven(turn: Turn, facts: Mapping[str, Fact]) -> dict[str, Fact | None]:
    """Find facts without proof that were learned from a turn, as earlier versions kept them."""
    told = learn_facts(turn.question)
    return {
        key: None
        for key, sentence in told.items()
        if key in facts and not facts[key].turn and facts[key].text == sentence
    }
