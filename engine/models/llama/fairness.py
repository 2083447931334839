"""Who is next: tiers get their share of the work by weight, and in each tier everybody gets the same."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from engine.models.base import Requester
from engine.models.llama.newcomers import Newcomers

Item = TypeVar("Item")


@dataclass(slots=True, eq=False)
class _Tier:
    """The people of one tier, in weighted fair queueing with equal weights.

    Its time is virtual: it passes with the work done for the tier, and slower the more people want something.

    Source: A. Demers, S. Keshav, S. Shenker, Analysis and Simulation of a Fair Queueing Algorithm, SIGCOMM 1989.
    """

    weight: float
    charged: float
    """Work it was given so far, divided by its weight."""
    now: float = 0.0
    finish: dict[str, float] = field(default_factory=dict)
    """When all that a person asked for would be done if everybody got the same at every moment."""
    requests: Counter[str] = field(default_factory=Counter)
    newcomers: Newcomers = field(default_factory=Newcomers)

    def forget(self, person: str) -> None:
        """Let a person go who wants nothing more; who got more than the others is remembered a while longer."""
        del self.requests[person]
        self.finish = {
            one: finish for one, finish in self.finish.items() if finish > self.now or one in self.requests
        }


@dataclass(slots=True, eq=False)
class Turn:
    """The place of a request among all others."""

    tier: _Tier
    name: str
    """Of the tier."""
    person: str
    order: tuple[float, int]
    """Within its tier; of equals the first to come goes first."""
    cost: float
    """The work it will probably be."""
    has_begun: bool = False


class FairQueue:
    """Gives each request its turn: who sends much, or long prompts, has late ones.

    Whoever comes with little is served before them, and nobody is overtaken for ever.
    """

    def __init__(self) -> None:
        self._tiers: dict[str, _Tier] = {}
        self._count = 0

    def enter(self, requester: Requester, cost: float) -> Turn:
        """Give a request its place.

        Args:
            requester: whose it is.
            cost: the work it will probably be.
        """
        if (tier := self._tiers.get(requester.tier)) is None:
            # What others were given while it wanted nothing is no debt to it.
            charged = min((other.charged for other in self._tiers.values()), default=0.0)
            tier = self._tiers[requester.tier] = _Tier(requester.weight, charged)
        tier.weight = requester.weight
        tier.requests[requester.person] += 1
        finish = max(tier.now, tier.finish.get(requester.person, 0.0)) + cost
        tier.finish[requester.person] = finish
        tier.newcomers.come(cost, finish - tier.now)
        self._count += 1
        return Turn(tier, requester.tier, requester.person, (finish, self._count), cost)

    def begin(self, turn: Turn) -> None:
        """Charge a tier for a request that is computed from now on."""
        if not turn.has_begun:
            turn.has_begun = True
            turn.tier.charged += turn.cost / turn.tier.weight

    def work(self, turn: Turn, amount: float) -> None:
        """Let the time pass in which so much was done for a request."""
        turn.tier.now += amount / len(turn.tier.requests)

    def prolong(self, turn: Turn, wait_s: float) -> float:
        """Return the wait of a request together with what those will add to it who come later and go first."""
        return turn.tier.newcomers.prolong(wait_s, turn.order[0] - turn.tier.now)

    def leave(self, turn: Turn, cost: float, now_s: float) -> None:
        """Take a request out, and charge what it really was.

        Args:
            turn: its place.
            cost: the work it was.
            now_s: the time, of any clock that only goes forward.
        """
        tier = turn.tier
        tier.finish[turn.person] += cost - turn.cost
        if turn.has_begun:
            tier.charged += (cost - turn.cost) / tier.weight
            tier.newcomers.leave(cost, tier.now, now_s)
        tier.requests[turn.person] -= 1
        if not tier.requests[turn.person]:
            tier.forget(turn.person)
        if not tier.requests:
            del self._tiers[turn.name]

    def in_order(self, items: Iterable[Item], turn_of: Callable[[Item], Turn]) -> list[Item]:
        """Sort what has turns: the tier that was given least goes first, and in a tier the earliest turn."""
        sorted_items = sorted(items, key=lambda item: turn_of(item).order)
        if len(self._tiers) <= 1:
            return sorted_items
        by_tier: dict[str, list[Item]] = {}
        for item in reversed(sorted_items):
            by_tier.setdefault(turn_of(item).name, []).append(item)
        charged = [(self._tiers[name].charged, name) for name in by_tier]
        heapq.heapify(charged)
        result = []
        while charged:
            given, name = charged[0]
            item = by_tier[name].pop()
            result.append(item)
            if by_tier[name]:
                heapq.heapreplace(charged, (given + turn_of(item).cost / self._tiers[name].weight, name))
            else:
                heapq.heappop(charged)
        return result
