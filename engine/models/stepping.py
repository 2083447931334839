"""Answers many requests at once with a library that computes one token of each at a time.

The order of requests, their estimates and their delivery are those of GGUF models; what differs is what computes.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from engine.models.base import End
from engine.models.hf_tokenizer import HuggingFaceTokenizer, Spelling
from engine.models.llama.costs import StepCosts
from engine.models.llama.line import Line
from engine.models.llama.request import Outbox, Request
from engine.models.llama.sampling import Sampler
from engine.models.llama.scheduler import Counts
from hub.errors import HubError, ModelError, OptionRefused

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Place:
    """How far a request is computed."""

    tokens: list[int]
    """Of the prompt, then of the answer."""
    shared: int
    """The first so many hold nobody's own text."""
    max_tokens: int
    """Of prompt and answer."""
    computed: int = 0
    cached: int = 0
    """Tokens of the prompt that were known already."""
    state: Any = None
    """What the computer keeps of it."""

    @property
    def pending(self) -> int:
        """Tokens that are still to be computed."""
        return len(self.tokens) - self.computed


@dataclass(frozen=True, slots=True)
class Computed:
    """What may follow the last token of a request."""

    place: Place
    likeliest: int
    logits: Callable[[], NDArray[np.float32]]
    """Gives the logits, float32, shape (vocabulary,), which may be changed."""


class Computer(Protocol):
    """Computes tokens; belongs to one thread."""

    parallel: int
    """Requests computed at once."""
    vocabulary_size: int
    step_tokens: int
    """Tokens of a prompt that are computed in one step at most."""

    @property
    def memory_bytes(self) -> int:
        """What weights and contexts take; safe on any thread."""

    def read(self, place: Place) -> Computed | None:
        """Compute the next part of a prompt; None when another one is left."""

    def advance(self, places: Sequence[Place]) -> list[Computed]:
        """Compute the last token of each answer."""

    def drop(self, place: Place) -> None:
        """Forget a request; one that was never read may be given."""

    def close(self) -> None:
        """Free everything."""


class _Answer:
    """What a request needs to know of the vocabulary to take its tokens."""

    def __init__(self, end_tokens: frozenset[int], spelling: Spelling) -> None:
        self.end_tokens = end_tokens
        self.piece = spelling.add


class Stepper:
    """Decides what is computed next; all of it belongs to the computer's thread."""

    def __init__(
        self, computer: Computer, tokenizer: HuggingFaceTokenizer, costs: StepCosts, line: Line
    ) -> None:
        self.counts = Counts()
        self.line = line
        self.running: list[Request] = []
        self.size = computer.vocabulary_size
        self.end_tokens = tokenizer.end_tokens
        self._end_rows = np.array([token for token in sorted(self.end_tokens) if token < self.size], np.int64)
        self._computer = computer
        self._tokenizer = tokenizer
        self._costs = costs
        self._outbox = Outbox()
        self._answers: dict[Request, _Answer] = {}

    @property
    def memory_bytes(self) -> int:
        """What the model takes; safe on any thread."""
        return self._computer.memory_bytes

    def add(self, request: Request) -> None:
        """Take a request; one that cannot be answered is told so."""
        if request.is_cancelled:
            return
        try:
            if request.options.grammar or request.options.json_schema:
                raise OptionRefused(
                    "this type of model cannot keep to a grammar or a JSON Schema; GGUF models can"
                )
            vocabulary: Any = self
            request.sampler = Sampler.create(vocabulary, request.options)
            self.line.enter(request, self.running)
        except HubError as error:
            self._end(request, error)

    def cancel(self, request: Request) -> None:
        """Let go of a request, whatever has become of it, before the next step."""
        if request.turn is not None:
            self._end(request)

    def interrupt(self) -> None:
        """Leave the running step alone: it is short."""

    def step(self) -> bool:
        """Compute once for all that are running; False when there was nothing to do."""
        room = self._computer.parallel - len(self.running)
        if room and self.line.waiting:
            for request in self.line.in_order(self.line.waiting)[:room]:
                self._start(request)
        self.line.tell(self.running, self._outbox, time.monotonic())
        if prompts := [request for request in self.running if not request.generated]:
            self._read(self.line.in_order(prompts)[0])
        if answers := [request for request in self.running if request.generated]:
            self._advance(answers)
        self._outbox.flush(time.monotonic())
        return bool(self.running or self.line.waiting)

    def forget(self, audiences: Collection[str]) -> None:
        """Do nothing: of a prompt only what everybody shares is held once it is answered."""

    def fail(self, error: ModelError) -> None:
        """Give up all requests, after something that no later step can cure."""
        for request in (*self.running, *self.line.waiting):
            self._end(request, error)
        self._outbox.flush(time.monotonic())

    def _start(self, request: Request) -> None:
        self.line.begin(request)
        tokens = request.prompt.tokens.tolist()
        most = len(tokens) + request.options.max_tokens
        self._answers[request] = _Answer(self.end_tokens, self._tokenizer.vocabulary.spell(tokens))
        place: Any = Place(tokens, request.prompt.shared, most)
        request.sequence = place
        self.running.append(request)
        self.counts.prompt_tokens += len(tokens)

    def _read(self, request: Request) -> None:
        place: Any = request.sequence
        before, started = place.computed, time.monotonic()
        try:
            computed = self._computer.read(place)
        except Exception as error:
            log.exception("prompt_not_computed", tokens=len(place.tokens))
            self._end(request, _problem(error))
            return
        if request.cached_tokens is None:
            request.cached_tokens = place.cached
            self.counts.cached_tokens += place.cached
            # What need not be computed is had all the same.
            self.line.work(request, place.cached, 0)
            before = max(before, place.cached)
        self._observe(place.computed - before, 0, started, requests=1)
        self.line.work(request, place.computed - before, 0)
        if computed is not None:
            self._take(request, computed)

    def _advance(self, requests: Sequence[Request]) -> None:
        started = time.monotonic()
        places: list[Any] = [request.sequence for request in requests]
        try:
            computed = self._computer.advance(places)
        except Exception as error:
            log.exception("step_failed", running=len(requests))
            for request in requests:
                self._end(request, _problem(error))
            return
        self._observe(0, len(requests), started, requests=len(requests))
        for request, one in zip(requests, computed, strict=True):
            self.line.work(request, 0, 1)
            self._take(request, one)

    def _take(self, request: Request, computed: Computed) -> None:
        try:
            token = self._choose(request, computed)
        except HubError as error:
            self._end(request, error)
            return
        before = len(request.generated)
        answer: Any = self._answers[request]
        events = request.accept([token], answer)
        self.counts.answer_tokens += len(request.generated) - before
        for event in events:
            self._outbox.put(request, event)
        if events and isinstance(events[-1], End):
            self.line.lengths.observe(len(request.generated), is_cut=events[-1].reason == "length")
            self._end(request)
        else:
            computed.place.tokens.append(token)

    def _choose(self, request: Request, computed: Computed) -> int:
        if request.sampler is None and not request.options.ignore_end:
            return computed.likeliest
        logits = computed.logits()
        if request.options.ignore_end:
            logits[self._end_rows] = -np.inf
        return int(logits.argmax()) if request.sampler is None else request.sampler.sample(logits)

    def _observe(self, prompt_tokens: int, answer_tokens: int, started_s: float, *, requests: int) -> None:
        seconds = time.monotonic() - started_s
        self.counts.steps += 1
        self.counts.step_requests += requests
        self.counts.busy_s += seconds
        self._costs.observe(prompt_tokens, answer_tokens, seconds)

    def _end(self, request: Request, error: HubError | None = None) -> None:
        if error is not None:
            self._outbox.put(request, error)
        request.sampler = None
        if request.sequence is not None:
            self.running.remove(request)
            place: Any = request.sequence
            self._computer.drop(place)
            request.sequence = None
            del self._answers[request]
        elif request.turn is not None:
            self.line.take(request)
        self.line.end(request)


def _problem(error: Exception) -> ModelError:
    if isinstance(error, ModelError):
        return error
    problem = ModelError(f"the model failed: {type(error).__name__}")
    problem.__cause__ = error
    return problem
