"""What people ask in the benchmark: short questions, questions over a shared text, growing conversations."""

import random
from dataclasses import dataclass
from typing import Literal

from engine.models.base import ChatMessage, Prompt

LoadName = Literal["short", "rag", "conv"]
LOADS: tuple[LoadName, ...] = ("short", "rag", "conv")
NEW_TOKENS = 64
TURNS = 8
"""Of one conversation."""

_BE_BRIEF = "You are a helpful assistant. Answer briefly."
_TOWNS = [
    "Lisbon",
    "Porto",
    "Madrid",
    "Bilbao",
    "Paris",
    "Lyon",
    "Nantes",
    "Geneva",
    "Zurich",
    "Bern",
    "Milan",
    "Turin",
    "Rome",
    "Naples",
    "Vienna",
    "Graz",
    "Prague",
    "Brno",
    "Berlin",
    "Hamburg",
    "Leipzig",
    "Cologne",
    "Ghent",
    "Antwerp",
    "Utrecht",
    "Leiden",
    "Oslo",
    "Bergen",
    "Malmo",
    "Lund",
    "Turku",
    "Vilnius",
]
_TRADES = [
    "bakery",
    "library",
    "museum",
    "school",
    "garage",
    "hotel",
    "theatre",
    "pharmacy",
    "market",
    "station",
]
_ASKED = (
    "Tell me about the {trade} in {town}.",
    "What can I see there in an afternoon?",
    "How do I get there from the station?",
    "When is it least crowded?",
    "What does it cost for a family?",
    "What is there to eat nearby?",
    "What should I take along when it rains?",
    "Write a short note to a friend about all this.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One kind of work."""

    name: LoadName
    turns: int
    """Requests of one person, each with all that was said before where it is a conversation."""

    def ask(self, round_: int, person: int, turn: int, said: tuple[ChatMessage, ...] = ()) -> Prompt:
        """Return the prompt of a person's turn.

        Args:
            round_: other rounds have other people and another shared text, so that nobody profits from an earlier one.
            person: 0 and up.
            turn: 0 and up.
            said: the messages of the person's earlier turns, questions and answers; used by conversations only.
        """
        dice = random.Random(f"{self.name} {round_} {person} {turn if self.name != 'conv' else 0}")
        number = f"{round_}.{person}.{turn}"
        town, trade = dice.choice(_TOWNS), dice.choice(_TRADES)
        match self.name:
            case "short":
                return _prompt(
                    _BE_BRIEF, f"What is the {trade} in {town} known for? This is question {number}."
                )
            case "rag":
                question = f"When does the {trade} in {town} open, and who runs it? ({number})"
                return _prompt(handbook(round_), question)
            case "conv":
                question = _ASKED[turn].format(town=f"{town} ({round_}.{person})", trade=trade)
                opening = (ChatMessage(role="system", text=_BE_BRIEF),)
                return Prompt(
                    messages=(*opening, *said, ChatMessage(role="user", text=question)), shared=len(opening)
                )


def load_named(name: LoadName, people: int) -> Load:
    """Choose a load and how long each person goes on, so that few people are measured as long as many."""
    turns = TURNS if name == "conv" else max(1, 16 // people)
    return Load(name=name, turns=turns)


def _prompt(system: str, question: str) -> Prompt:
    return Prompt(
        messages=(ChatMessage(role="system", text=system), ChatMessage(role="user", text=question)), shared=1
    )


def handbook(edition: int) -> str:
    """Return a text of about 600 tokens that every prompt of a round of `rag` begins with."""
    dice = random.Random(f"handbook {edition}")
    lines = [
        f"The {trade} in {dice.choice(_TOWNS)} opens at {dice.randint(6, 11)} and is run by {name}."
        for trade in _TRADES
        for name in ("Ana", "Ben", "Carla")
    ]
    return f"{_BE_BRIEF} Use edition {edition} of these facts. {' '.join(lines)}"
