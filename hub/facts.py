"""What is remembered of a person, with its proof: who said what in which message, and what it took the place of."""

import hashlib
from typing import Literal

from pydantic import AwareDatetime, ValidationError

from hub.messages import FoundBy, Message

EARLIER_KEPT = 5
"""Facts that a fact remembers to have replaced, the latest ones."""

Audience = Literal["private", "group"]


class EarlierFact(Message):
    """A fact that was replaced by a later one."""

    text: str
    quote: str = ""
    turn: str = ""
    told_at: AwareDatetime | None = None


class Fact(Message):
    """One fact about a person, as the hash of their facts keeps it."""

    text: str
    """A sentence about the user: "The user lives in Goa."."""
    quote: str = ""
    """Their own words, as they stand in the message; empty for what was remembered before there were proofs."""
    turn: str = ""
    """Entry id of the message that holds the quote."""
    told_at: AwareDatetime | None = None
    """When that message arrived."""
    audience: Audience = "private"
    """Who heard it: a fact that was told in a group is known in that group alone, and the other way round."""
    found_by: FoundBy = "rules"
    earlier: tuple[EarlierFact, ...] = ()
    """What it replaced, the latest one last."""

    @property
    def version(self) -> str:
        """A word that changes with it."""
        return hashlib.blake2b(self.to_field().encode(), digest_size=8).hexdigest()

    @property
    def age_key(self) -> float:
        """What sorts facts by age; those without a time count as the oldest."""
        return self.told_at.timestamp() if self.told_at else 0.0

    def after(self, older: "Fact | None") -> "Fact":
        """Return this fact with the one it takes the place of as its history."""
        if older is None:
            return self
        if older.text == self.text:
            # Told again: it rests on the later message now, and replaces nothing.
            return self.model_copy(update={"earlier": older.earlier})
        replaced = EarlierFact(text=older.text, quote=older.quote, turn=older.turn, told_at=older.told_at)
        return self.model_copy(update={"earlier": (*older.earlier, replaced)[-EARLIER_KEPT:]})

    def without(self, turn: str) -> "Fact | None":
        """Return what is left when a message is taken back; None when that is nothing."""
        if self.turn != turn:
            return self.model_copy(update={"earlier": tuple(one for one in self.earlier if one.turn != turn)})
        left = [one for one in self.earlier if one.turn != turn]
        if not left:
            return None
        last = left[-1]
        return self.model_copy(
            update={
                "text": last.text,
                "quote": last.quote,
                "turn": last.turn,
                "told_at": last.told_at,
                "earlier": tuple(left[:-1]),
            }
        )

    def to_field(self) -> str:
        """Return it as the value of a hash's field."""
        return self.model_dump_json()


def parse_fact(field: str) -> Fact:
    """Read a field of the hash; a bare sentence, as earlier versions wrote it, is a fact without proof."""
    if field.startswith("{"):
        try:
            return Fact.model_validate_json(field)
        except ValidationError:
            pass
    return Fact(text=field)
