"""What is known of models that could not be loaded or whose process ended, and when they are tried again."""

import asyncio
from dataclasses import dataclass

from hub.errors import ModelUnavailable

_LONGEST_PAUSE_S = 60.0
STEADY_S = 60.0
"""A process that ends after it has run so long is started again at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a model is not loaded."""

    error: str
    identity: str
    """Of settings and files; others are tried at once."""
    attempts: int
    retry_at_s: float
    """Time of the event loop."""
    is_crash: bool
    """Its process ended under way: loading it again is likely to succeed."""


class Failures:
    """Lets nobody load again and again what has just failed; the pauses grow to a minute."""

    def __init__(self) -> None:
        self._failures: dict[str, Failure] = {}

    def error_of(self, name: str) -> str:
        """Tell what went wrong last; empty when nothing did since it was loaded."""
        failure = self._failures.get(name)
        return failure.error if failure else ""

    def is_due(self, name: str, identity: str) -> bool:
        """Tell whether a model may be tried now."""
        return self._left_s(name, identity) <= 0

    async def pause(self, name: str, identity: str) -> None:
        """Wait until a model whose process ended may be started again.

        Raises: ModelUnavailable: it could not even be loaded, a short while ago.
        """
        if (left_s := self._left_s(name, identity)) <= 0:
            return
        failure = self._failures[name]
        if not failure.is_crash:
            raise ModelUnavailable(failure.error)
        await asyncio.sleep(left_s)

    def note_refused(self, name: str, identity: str, error: str) -> None:
        """Remember that a model could not be loaded."""
        self._note(name, identity, error, is_crash=False)

    def note_ended(self, name: str, identity: str, error: str, *, ran_s: float) -> None:
        """Remember that a model's process ended by itself."""
        if ran_s >= STEADY_S:
            self.forget(name)
        self._note(name, identity, error, is_crash=True)

    def note_loaded(self, name: str) -> None:
        """Forget why a model could not be loaded; what ended before may end again."""
        if (failure := self._failures.get(name)) and not failure.is_crash:
            self.forget(name)

    def forget(self, name: str) -> None:
        """Let a model be tried at once."""
        self._failures.pop(name, None)

    def _note(self, name: str, identity: str, error: str, *, is_crash: bool) -> None:
        before = self._failures.get(name)
        attempts = before.attempts + 1 if before and before.identity == identity else 1
        # The first end may have been anything; only what ends again and again is given time.
        exponent = attempts - (2 if is_crash else 1)
        pause_s = 0.0 if exponent < 0 else min(2.0 ** min(exponent, 10), _LONGEST_PAUSE_S)
        self._failures[name] = Failure(
            error=error,
            identity=identity,
            attempts=attempts,
            retry_at_s=asyncio.get_running_loop().time() + pause_s,
            is_crash=is_crash,
        )

    def _left_s(self, name: str, identity: str) -> float:
        failure = self._failures.get(name)
        if failure is None or failure.identity != identity:
            return 0.0
        return failure.retry_at_s - asyncio.get_running_loop().time()
