"""What the consumers of one process do, counted for the metrics of the whole hub."""

from collections import Counter

FAILED = "attempts_failed"
LOST = "leases_lost"
HELD = "leases_held"
UNREAD = "reads_failed"


class Counts:
    """Numbers by what they count and by queue; all but the leases held only grow."""

    def __init__(self) -> None:
        self._numbers: Counter[tuple[str, str]] = Counter()

    def add(self, what: str, queue: str, number: int = 1) -> None:
        """Count something of a queue."""
        self._numbers[what, queue] += number

    def of(self, what: str) -> dict[str, int]:
        """Return the numbers by queue."""
        return {queue: number for (name, queue), number in self._numbers.items() if name == what}
