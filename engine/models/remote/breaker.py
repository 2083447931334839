"""A circuit breaker: what failed is left alone for a while, so that it does not cost its timeout each time."""

import time
from collections.abc import Callable

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 60.0


class Breaker:
    """Whether an endpoint is asked.

    After a failure it is left alone for 5 s, then one request tries it; each further failure doubles the pause, up
    to a minute, and a success ends it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pause_s = 0.0
        self._closed_until = 0.0

    @property
    def wait_s(self) -> float:
        """Seconds until it may be asked; 0 for now."""
        return max(0.0, self._closed_until - self._clock())

    def admit(self) -> bool:
        """Tell whether a request may go, and keep others away while the first one after a failure tries."""
        if self.wait_s:
            return False
        if self._pause_s:
            self._closed_until = self._clock() + self._pause_s
        return True

    def succeeded(self) -> None:
        """Let every request through again."""
        self._pause_s = self._closed_until = 0.0

    def release(self) -> None:
        """Let the next request try, since the one that was let through found nothing out."""
        self._closed_until = 0.0

    def failed(self, at_least_s: float = 0.0) -> None:
        """Keep requests away; `at_least_s` is what the endpoint itself asked for."""
        self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
        self._closed_until = self._clock() + max(self._pause_s, min(at_least_s, LONGEST_PAUSE_S))
