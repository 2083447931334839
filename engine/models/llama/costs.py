"""What computing takes on this machine, learned from every step."""

import numpy as np
from numpy.typing import NDArray

_FORGET = 0.99
"""Weight of what was seen one step earlier: about the last hundred steps count."""
_PRIOR_S = np.array([0.002, 0.002, 0.008])
_PRIOR_WEIGHTS = np.array([1.0, 100.0, 1.0]) * 1e-3
_FIRST_STEPS = 10
_ODD = 3.0
"""A step that takes so many times what was expected says nothing about the next ones."""
_FLOOR_S = np.array([1e-5, 1e-6, 1e-6])


class StepCosts:
    """Seconds of a step: some for the step itself, some for each token of a prompt and of an answer."""

    def __init__(self) -> None:
        self.steps = 0
        self._squares = np.diag(_PRIOR_WEIGHTS)
        self._products = _PRIOR_WEIGHTS * _PRIOR_S
        self._costs: NDArray[np.float64] | None = None

    def observe(self, prompt_tokens: int, answer_tokens: int, seconds: float) -> None:
        """Learn from a step."""
        if self.steps > _FIRST_STEPS:
            # Something else took the machine for a moment.
            seconds = min(seconds, _ODD * self.step_s(prompt_tokens, answer_tokens))
        counts = np.array([1.0, prompt_tokens, answer_tokens])
        # Long steps are relied on no more than short ones: it is their relative error that counts.
        weight = 1.0 / max(1.0, prompt_tokens + answer_tokens)
        self._squares = self._squares * _FORGET + weight * np.outer(counts, counts)
        self._products = self._products * _FORGET + weight * counts * seconds
        # The prior never fades away: it decides what the steps seen cannot tell apart.
        self._squares += (1 - _FORGET) * np.diag(_PRIOR_WEIGHTS)
        self._products += (1 - _FORGET) * _PRIOR_WEIGHTS * _PRIOR_S
        self._costs = None
        self.steps += 1

    def step_s(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Estimate a step."""
        return float(self._learned() @ (1.0, prompt_tokens, answer_tokens))

    @property
    def prompt_token_s(self) -> float:
        """Seconds that one more token of a prompt takes."""
        return float(self._learned()[1])

    @property
    def answer_token_s(self) -> float:
        """Seconds that one more answer in a step takes."""
        return float(self._learned()[2])

    def _learned(self) -> NDArray[np.float64]:
        if self._costs is None:
            self._costs = np.maximum(np.linalg.solve(self._squares, self._products), _FLOOR_S)
        return self._costs


class Rate:
    """Bytes per second of something that is done now and then."""

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s

    def observe(self, size_bytes: int, seconds: float) -> None:
        """Learn from one time."""
        self.bytes_per_s += 0.3 * (size_bytes / max(seconds, 1e-6) - self.bytes_per_s)

    def seconds(self, size_bytes: int) -> float:
        """Estimate one time."""
        return size_bytes / self.bytes_per_s
