"""What an edited message undoes: the turn of its earlier text, and what was learned from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from engine.answers import Recollection
from engine.memory.facts import learn_facts
from hub.bus.bus import Bus
from hub.messages import InboundMessage, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """The earlier turn of a message that was edited."""

    turn: str = ""
    """Entry id; empty where nothing is to be undone."""
    row: bytes = b""
    """As the history keeps it; empty where it does so no more."""
    facts: tuple[str, ...] = ()
    """Keys of what is remembered of its text alone."""

    def facts_left(self, facts: Mapping[str, str]) -> dict[str, str]:
        """Return the facts that do not rest on that turn alone."""
        return {key: fact for key, fact in facts.items() if key not in self.facts}

    def taken_from(self, recollection: Recollection) -> Recollection:
        """Return what would be remembered if that turn had never been; its facts apart."""
        turns = [turn for turn in recollection.turns if turn.turn != self.turn]
        return replace(recollection, turns=turns)


NOTHING = Undone()


async def undone_by(bus: Bus, message: InboundMessage, turn: str, facts: Mapping[str, str]) -> Undone:
    """Find what a message undoes.

    Args:
        turn: its own.
        facts: what is remembered of its person.

    Raises: BusError: Redis is away.
    """
    earlier = await bus.replaced_turn(message, turn)
    if not earlier:
        return NOTHING
    found = await bus.history.row(message.conversation, earlier)
    if found is None:
        return Undone(turn=earlier)
    kept, row = found
    return Undone(turn=earlier, row=row, facts=_learned_from(kept, facts))


def _learned_from(turn: Turn, facts: Mapping[str, str]) -> tuple[str, ...]:
    # What was told again since, in other words, is another fact by now and stays.
    return tuple(key for key, fact in learn_facts(turn.question).items() if facts.get(key) == fact)
