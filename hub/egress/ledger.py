"""The ledger of one process: where it has connected to or tried to, for what, when and how often."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

MOST_PLACES = 500
"""Of one process; pages that are fetched may lie on any number of hosts, and the rest counts as `OTHERS`."""
OTHERS = "(others)"


class Place(NamedTuple):
    """Where to, and what for."""

    host: str
    """As it was asked for: a name where there was one."""
    port: int
    purpose: str
    """Empty where no setting names the place."""


@dataclass(slots=True, kw_only=True)
class Visits:
    """What is known of one place."""

    first: datetime
    last: datetime
    connections: int = 0
    """Begun, whether they came about or not."""
    refused: int = 0


class Ledger:
    """Counts by place; any thread may write."""

    def __init__(self) -> None:
        self._visits: dict[Place, Visits] = {}
        self._lock = threading.Lock()

    def note(self, place: Place, *, refused: bool = False) -> bool:
        """Count a connection, or one that was refused; True where it is the first of the place."""
        now = datetime.now(UTC)
        with self._lock:
            if place not in self._visits and len(self._visits) >= MOST_PLACES:
                place = Place(OTHERS, 0, place.purpose)
            is_new = place not in self._visits
            visits = self._visits.setdefault(place, Visits(first=now, last=now))
            visits.last = now
            visits.refused += refused
            visits.connections += not refused
            return is_new

    @property
    def has_news(self) -> bool:
        """Whether something was counted since the last time it was taken out."""
        return any(each.connections or each.refused for each in self._visits.values())

    def take(self) -> dict[Place, Visits]:
        """Take out what was counted since the last time."""
        with self._lock:
            taken = {
                place: Visits(
                    first=each.first, last=each.last, connections=each.connections, refused=each.refused
                )
                for place, each in self._visits.items()
                if each.connections or each.refused
            }
            for each in self._visits.values():
                each.connections = each.refused = 0
            return taken

    def put_back(self, taken: Iterable[tuple[Place, Visits]]) -> None:
        """Add what could not be handed on."""
        with self._lock:
            for place, each in taken:
                known = self._visits.setdefault(place, Visits(first=each.first, last=each.last))
                known.connections += each.connections
                known.refused += each.refused
