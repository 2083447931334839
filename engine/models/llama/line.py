"""The requests that wait for a sequence: in whose order, how many at most, and how long each will probably wait."""

from collections.abc import Sequence

from engine.models.base import Requester, Waiting
from engine.models.llama.costs import StepCosts
from engine.models.llama.estimate import AnswerLengths, Job, first_text_s
from engine.models.llama.fairness import FairQueue, Turn
from engine.models.llama.request import Outbox, Request
from hub.errors import ModelBusy

_ANSWER_COST = 2.0
"""Work of a token of an answer, in tokens of a prompt.
Source: Y. Sheng et al., Fairness in Serving Large Language Models, OSDI 2024."""
_TELL_AGAIN_S = 1.0
_NEW_ESTIMATE = 0.25
"""Share of the wait by which an estimate must have changed to be told again."""


class Line:
    """Keeps the order of all requests from the moment they come until they end."""

    def __init__(self, costs: StepCosts, *, limit_tokens: int, parallel: int, step_tokens: int) -> None:
        """Begin with nobody.

        Args:
            costs: what a step takes.
            limit_tokens: of prompts and answers that may wait; whoever has nothing waiting yet may have twice that
                before them, so that one person's many requests do not shut the others out.
            parallel: requests that are computed at once.
            step_tokens: most tokens of a step.
        """
        self.lengths = AnswerLengths()
        self.waiting: list[Request] = []
        self._costs = costs
        self._limit_tokens = limit_tokens
        self._parallel = parallel
        self._step_tokens = step_tokens
        self._queue = FairQueue()
        self._tokens = 0
        self._now_s = self._tell_at_s = 0.0

    def in_order(self, requests: Sequence[Request]) -> list[Request]:
        """Sort requests by whose turn it is."""
        return self._queue.in_order(requests, _turn_of)

    def enter(self, request: Request, running: Sequence[Request]) -> None:
        """Let a request wait.

        Raises: ModelBusy: so many tokens wait already that this one would wait too long.
        """
        has_room = len(running) + len(self.waiting) < self._parallel
        limit_tokens = self._limit_tokens * (1 if self._waits(request.requester) else 2)
        if self.waiting and not has_room and self._tokens + _most_tokens(request) > limit_tokens:
            raise ModelBusy(max(1.0, self._estimates(running, self.waiting[:1])[0]))
        cost = len(request.prompt.tokens) + _ANSWER_COST * self.lengths.expected(request.options.max_tokens)
        request.turn = self._queue.enter(request.requester, cost)
        self.put_back(request)

    def put_back(self, request: Request) -> None:
        """Let a request that has its turn already wait for it."""
        self.waiting.append(request)
        self._tokens += _most_tokens(request)

    def take(self, request: Request) -> None:
        """Take out a request that is given up."""
        self.waiting.remove(request)
        self._tokens -= _most_tokens(request)

    def begin(self, request: Request) -> None:
        """Take out a request because it begins, or goes on."""
        self.take(request)
        self._queue.begin(_turn_of(request))

    def work(self, request: Request, prompt_tokens: int, answer_tokens: int) -> None:
        """Count what was done for a request."""
        self._queue.work(_turn_of(request), prompt_tokens + _ANSWER_COST * answer_tokens)

    def end(self, request: Request) -> None:
        """Forget a request that has ended, one way or the other."""
        turn, request.turn = request.turn, None
        if turn is not None:
            prompt_tokens = len(request.prompt.tokens) if request.cached_tokens is not None else 0
            self._queue.leave(turn, prompt_tokens + _ANSWER_COST * len(request.generated), self._now_s)

    def tell(self, running: Sequence[Request], outbox: Outbox, now_s: float) -> None:
        """Tell those who wait how long; again when that has changed. Called before every step."""
        self._now_s = now_s
        is_new = any(request.text_at_s is None for request in self.waiting)
        if not self.waiting or not (is_new or now_s >= self._tell_at_s):
            return
        self._tell_at_s = now_s + _TELL_AGAIN_S
        waiting = self.in_order(self.waiting)
        for request, wait_s in zip(waiting, self._estimates(running, waiting), strict=True):
            expected, request.text_at_s = request.text_at_s, now_s + wait_s
            if request.generated:
                continue
            if expected is None or abs(request.text_at_s - expected) > _NEW_ESTIMATE * max(wait_s, 1.0):
                outbox.put(request, Waiting(wait_s=wait_s))
            else:
                request.text_at_s = expected

    def _waits(self, requester: Requester) -> bool:
        mine = (requester.tier, requester.person)
        return any((one.requester.tier, one.requester.person) == mine for one in self.waiting)

    def _estimates(self, running: Sequence[Request], waiting: Sequence[Request]) -> list[float]:
        waits_s = first_text_s(
            [self._job(request) for request in running],
            [self._job(request) for request in waiting],
            self._costs,
            parallel=self._parallel,
            step_tokens=self._step_tokens,
        )
        return [
            self._queue.prolong(_turn_of(request), wait_s)
            for request, wait_s in zip(waiting, waits_s, strict=True)
        ]

    def _job(self, request: Request) -> Job:
        said = len(request.generated)
        expected = self.lengths.expected(request.options.max_tokens, said)
        if request.sequence is not None:
            return Job(request.sequence.pending, expected)
        return Job(len(request.prompt.tokens) + said - request.known_tokens, expected)


def _turn_of(request: Request) -> Turn:
    assert request.turn is not None
    return request.turn


def _most_tokens(request: Request) -> int:
    return len(request.prompt.tokens) + request.options.max_tokens
