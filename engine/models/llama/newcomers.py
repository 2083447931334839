"""How much longer one waits because of those who have not come yet, but will, and go first."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

_REMEMBERED = 16
"""Requests that ended last, and who came after each of them."""
_DOUBT = 4.0
"""Requests after which nobody came, as if they had been seen before any other: not every crowd is one that stays."""
_MOST_COMERS = 2
"""Of those who came after one departure so many stand for all: a thousand may wait, and each is told of them."""
_ROUNDS = 12
_CLOSE = 0.01


@dataclass(slots=True)
class _Departure:
    at_s: float
    virtual_now: float
    work: float
    came: int = 0
    """How many, until the next departure."""
    comers: list[tuple[float, float]] = field(default_factory=list)
    """The first of them: the work they wanted, and how far their turn lay ahead."""

    def come(self, work: float, ahead: float) -> None:
        self.came += 1
        if len(self.comers) < _MOST_COMERS:
            self.comers.append((work, ahead))


class Newcomers:
    """Learns who comes while others go, in one fair queue, and expects the same of the next ones.

    In a queue whose order is a virtual time, a newcomer goes before all whose turn is later, however long those have
    waited. Where people come back as soon as they are answered, as they do in conversations, that may be half of a wait.
    """

    def __init__(self) -> None:
        self._departures: deque[_Departure] = deque(maxlen=_REMEMBERED)

    def come(self, work: float, ahead: float) -> None:
        """Remember one who came.

        Args:
            work: that was asked for.
            ahead: from the virtual time of that moment to the turn that was given.
        """
        # Those who come before anybody has gone are the crowd itself.
        if self._departures:
            self._departures[-1].come(work, ahead)

    def leave(self, work: float, virtual_now: float, now_s: float) -> None:
        """Remember one who was served.

        Args:
            work: that was done.
            virtual_now: the virtual time.
            now_s: the time, of any clock that only goes forward.
        """
        self._departures.append(_Departure(now_s, virtual_now, work))

    def prolong(self, wait_s: float, ahead: float) -> float:
        """Return a wait together with what those will add to it who have not come yet.

        Args:
            wait_s: seconds, if nobody came any more.
            ahead: from the virtual time to the turn of the one who waits.
        """
        overtaking = list(self._overtaking(ahead))
        whole_s = wait_s
        for _ in range(_ROUNDS):
            # Who waits longer is overtaken by more.
            before_s, whole_s = (
                whole_s,
                wait_s + sum(share * min(seconds, whole_s) for share, seconds in overtaking),
            )
            if whole_s - before_s <= _CLOSE * whole_s:
                break
        return whole_s

    def _overtaking(self, ahead: float) -> Iterator[tuple[float, float]]:
        """Yield for each kind of newcomer the share of all work that is theirs, and the seconds in which they go first."""
        if len(self._departures) < 2:
            return
        first, last = self._departures[0], self._departures[-1]
        seconds, virtual = last.at_s - first.at_s, last.virtual_now - first.virtual_now
        if seconds <= 0 or virtual <= 0:
            return
        done = sum(one.work for one in self._departures) * (1 + _DOUBT / len(self._departures))
        for departure in self._departures:
            for work, their_ahead in departure.comers:
                if their_ahead < ahead:
                    share = work * departure.came / len(departure.comers) / done
                    yield share, (ahead - their_ahead) * seconds / virtual
