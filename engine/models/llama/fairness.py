"""Who is next: weighted fair queueing over tiers, and over the people of each tier.

Source: A. Demers, S. Keshav, S. Shenker, Analysis and Simulation of a Fair Queueing Algorithm, SIGCOMM 1989.
"""

from collections import Counter
from dataclasses import dataclass, field

from engine.models.base import Requester

Person = tuple[str, str]
"""Tier and person."""


@dataclass(slots=True, eq=False)
class Turn:
    """A request's place: those with a smaller `finish` go first."""

    person: Person
    finish: float
    cost: float
    share: float
    """Of the model, when it came."""
    number: int = field(default=0)
    """Requests are told apart by when they came."""

    @property
    def order(self) -> tuple[float, int]:
        """What turns are sorted by."""
        return (self.finish, self.number)


class FairQueue:
    """Gives each request the time at which it would be done if everybody got their share at every moment.

    That time is virtual: it passes with the work that is done, and slower the more tiers want something. Who sends
    much, or long prompts, has late turns; who comes first with a short one is served before these, and nobody is
    overtaken for ever.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._count = 0
        self._finish: dict[Person, float] = {}
        self._requests: Counter[Person] = Counter()
        self._people: Counter[str] = Counter()
        self._weights: dict[str, float] = {}

    def enter(self, requester: Requester, cost: float) -> Turn:
        """Give a request its place.

        Args:
            requester: whose it is.
            cost: the work it will probably be.
        """
        person = (requester.tier, requester.person)
        self._requests[person] += 1
        if self._requests[person] == 1:
            self._people[requester.tier] += 1
        self._weights[requester.tier] = requester.weight
        share = requester.weight / self._people[requester.tier]
        finish = max(self._now, self._finish.get(person, 0.0)) + cost / share
        self._finish[person] = finish
        self._count += 1
        return Turn(person, finish, cost, share, self._count)

    def work(self, amount: float) -> None:
        """Let the time pass in which so much work was done."""
        if total := sum(self._weights.values()):
            self._now += amount / total

    def leave(self, turn: Turn, cost: float) -> None:
        """Take a request out, and charge its person what it really was."""
        self._finish[turn.person] += (cost - turn.cost) / turn.share
        self._requests[turn.person] -= 1
        if not self._requests[turn.person]:
            self._go_home(turn.person)
        if not self._requests:
            self._now = 0.0
            self._finish.clear()

    def requests_of(self, turn: Turn) -> int:
        """Count what the person of this turn wants at the moment."""
        return self._requests[turn.person]

    def _go_home(self, person: Person) -> None:
        tier, _ = person
        del self._requests[person]
        self._people[tier] -= 1
        if not self._people[tier]:
            del self._people[tier], self._weights[tier]
        # Whoever got more than their share is remembered only until time has caught up.
        self._finish = {
            one: finish for one, finish in self._finish.items() if finish > self._now or one in self._requests
        }
