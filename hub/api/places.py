"""How many requests of one key are being answered, so that none takes all of an engine."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Places:
    """Counts in this process alone: each request would pay for a count that all share, and fairness needs no exact one."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    @contextmanager
    def take(self, name: str, most: int) -> Iterator[bool]:
        """Take one of the places that a name has, while the block lasts; False where all are taken."""
        if self._taken[name] >= most:
            yield False
            return
        self._taken[name] += 1
        try:
            yield True
        finally:
            self._taken[name] -= 1
            # Names of keys come and go.
            if not self._taken[name]:
                del self._taken[name]
