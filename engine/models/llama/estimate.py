"""How long a request will wait for its first text, by playing through what is ahead of it."""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_REMEMBERED = 64
_GUESS_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Job:
    """What is left of a request."""

    prompt_tokens: int
    """Still to be computed."""
    answer_tokens: float
    """Probably still to come."""


class Costs(Protocol):
    """What a step takes."""

    @property
    def prompt_token_s(self) -> float:
        """Seconds that one more token of a prompt takes."""

    def step_s(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Estimate a step."""


class AnswerLengths:
    """Learns from ended answers how long answers are.

    An answer that was cut off at its `max_tokens` only tells that it would have been longer.

    Source: E. L. Kaplan, P. Meier, Nonparametric Estimation from Incomplete Observations, JASA 1958.
    """

    def __init__(self) -> None:
        self._lengths: deque[tuple[int, bool]] = deque(maxlen=_REMEMBERED)

    def observe(self, tokens: int, *, is_cut: bool) -> None:
        """Remember an answer that has ended, by itself or because it was cut off."""
        self._lengths.append((tokens, is_cut))

    def expected(self, max_tokens: int, said: int = 0) -> float:
        """Estimate the tokens that an answer of at most `max_tokens` will still have after `said` of them."""
        if max_tokens <= said:
            return 0
        if not self._lengths:
            return min(max_tokens - said, _GUESS_TOKENS)
        longer = sorted(length for length in self._lengths if length[0] > said)
        expected, at, going_on = 0.0, said, 1.0
        for position, (length, is_cut) in enumerate(longer):
            if length >= max_tokens:
                break
            expected += going_on * (length - at)
            at = length
            if not is_cut:
                going_on *= 1 - 1 / (len(longer) - position)
        if longer:
            return expected + going_on * (max_tokens - at)
        # Longer than any before it.
        return min(max_tokens - said, max(1, said // 4))


def first_text_s(
    running: Sequence[Job], queue: Sequence[Job], costs: Costs, *, parallel: int, step_tokens: int
) -> list[float]:
    """Estimate when each request of a queue gets its first text.

    Args:
        running: requests that have a sequence.
        queue: requests that wait, in the order in which they will get one.
        costs: what a step takes.
        parallel: how many sequences there are.
        step_tokens: most tokens of a step.

    Returns: seconds from now, one for each of the queue.
    """
    play = _Play(costs, step_tokens)
    for job in running:
        play.begin(job, None)
    texts = [0.0] * len(queue)
    for position, job in enumerate(queue):
        while play.size >= parallel:
            play.advance(texts)
        play.begin(job, position)
    while play.is_prefilling:
        play.advance(texts)
    return texts


class _Play:
    """Time goes from one event to the next: a prompt is computed, or an answer ends."""

    def __init__(self, costs: Costs, step_tokens: int) -> None:
        self._costs = costs
        self._step_tokens = step_tokens
        self._now_s = 0.0
        self._steps = 0.0
        self._ends: list[float] = []
        """The steps at which running answers end, a heap."""
        self._prompts: deque[tuple[float, float, int | None]] = deque()
        """Tokens left of a prompt, tokens of its answer, position in the queue."""

    @property
    def size(self) -> int:
        return len(self._ends) + len(self._prompts)

    @property
    def is_prefilling(self) -> bool:
        return bool(self._prompts)

    def begin(self, job: Job, position: int | None) -> None:
        if job.prompt_tokens > 1 or position is not None:
            self._prompts.append((max(1, job.prompt_tokens), job.answer_tokens, position))
        else:
            heapq.heappush(self._ends, self._steps + max(1.0, job.answer_tokens))

    def advance(self, texts: list[float]) -> None:
        room = max(1, self._step_tokens - len(self._ends))
        until_end = self._ends[0] - self._steps if self._ends else float("inf")
        until_text = self._prompts[0][0] / room if self._prompts else float("inf")
        steps = min(until_end, until_text)
        computed = steps * room if self._prompts else 0.0
        # A prompt that ends within a step shares the step with the next one: what a step costs in itself is counted
        # by the part of it that was used.
        self._now_s += steps * self._costs.step_s(0, len(self._ends)) + computed * self._costs.prompt_token_s
        self._steps += steps
        if until_end <= until_text:
            heapq.heappop(self._ends)
        if self._prompts:
            left, answer, position = self._prompts.popleft()
            if until_text <= until_end:
                heapq.heappush(self._ends, self._steps + max(1.0, answer))
                if position is not None:
                    texts[position] = self._now_s
            else:
                self._prompts.appendleft((left - computed, answer, position))
