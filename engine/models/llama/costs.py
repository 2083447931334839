"""What computing takes on this machine, learned from every step."""

from collections import deque
from collections.abc import Sequence

_FORGET = 0.99
"""Weight of what was seen one step earlier: about the last hundred steps count."""
_PRIOR_S = (0.002, 0.002, 0.008)
_PRIOR_WEIGHTS = (1e-3, 1e-1, 1e-3)
_FIRST_STEPS = 10
_ODD = 3.0
"""A step that takes so many times what was expected says nothing about the next ones."""
_FLOOR_S = (1e-5, 1e-6, 1e-6)
_UNKNOWNS = range(3)
_REMEMBERED = 250
"""Steps in which what one of them told has not faded away."""


class StepCosts:
    """Seconds of a step: some for the step itself, some for each token of a prompt and of an answer.

    Fitted by least squares after every step, without numpy: for three unknowns it takes longer to call than to count.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._squares = [[_PRIOR_WEIGHTS[i] * (i == j) for j in _UNKNOWNS] for i in _UNKNOWNS]
        self._products = [weight * cost for weight, cost in zip(_PRIOR_WEIGHTS, _PRIOR_S, strict=True)]
        self._costs: tuple[float, ...] | None = None
        self._answer_tokens: deque[int] = deque(maxlen=_REMEMBERED)

    def observe(self, prompt_tokens: int, answer_tokens: int, seconds: float) -> None:
        """Learn from a step."""
        if self.steps > _FIRST_STEPS:
            # Something else took the machine for a moment.
            seconds = min(seconds, _ODD * self.step_s(prompt_tokens, answer_tokens))
        counts = (1.0, prompt_tokens, answer_tokens)
        # Long steps are relied on no more than short ones: it is their relative error that counts.
        weight = 1.0 / max(1.0, prompt_tokens + answer_tokens)
        for i in _UNKNOWNS:
            row = self._squares[i]
            for j in _UNKNOWNS:
                row[j] = row[j] * _FORGET + weight * counts[i] * counts[j]
            # The prior never fades away: it decides what the steps seen cannot tell apart.
            row[i] += (1 - _FORGET) * _PRIOR_WEIGHTS[i]
            self._products[i] = (
                self._products[i] * _FORGET
                + weight * counts[i] * seconds
                + (1 - _FORGET) * _PRIOR_WEIGHTS[i] * _PRIOR_S[i]
            )
        self._costs = None
        self._answer_tokens.append(answer_tokens)
        self.steps += 1

    def has_seen(self, answer_tokens: int) -> bool:
        """Whether one of the last steps computed so many tokens of answers: what more cost is not told by fewer."""
        return max(self._answer_tokens, default=0) >= answer_tokens

    def step_s(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Estimate a step."""
        step, prompt_token, answer_token = self._learned()
        return step + prompt_token * prompt_tokens + answer_token * answer_tokens

    @property
    def prompt_token_s(self) -> float:
        """Seconds that one more token of a prompt takes."""
        return self._learned()[1]

    @property
    def answer_token_s(self) -> float:
        """Seconds that one more answer in a step takes."""
        return self._learned()[2]

    def _learned(self) -> tuple[float, ...]:
        if self._costs is None:
            found = _solve(self._squares, self._products)
            self._costs = tuple(max(cost, floor) for cost, floor in zip(found, _FLOOR_S, strict=True))
        return self._costs


def _solve(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> tuple[float, float, float]:
    """Solve three linear equations by Cramer's rule; the prior keeps the matrix away from a singular one."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    x, y, z = right
    ei_fh, di_fg, dh_eg = e * i - f * h, d * i - f * g, d * h - e * g
    determinant = a * ei_fh - b * di_fg + c * dh_eg
    return (
        (x * ei_fh - b * (y * i - f * z) + c * (y * h - e * z)) / determinant,
        (a * (y * i - f * z) - x * di_fg + c * (d * z - y * g)) / determinant,
        (a * (e * z - y * h) - b * (d * z - y * g) + x * dh_eg) / determinant,
    )


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
