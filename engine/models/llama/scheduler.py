"""Continuous batching: every step computes for all requests at once, and requests come and go between steps."""

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import structlog
from numpy.typing import NDArray

from engine.models.base import End
from engine.models.llama.batch import Batch
from engine.models.llama.context import ABORTED, DONE, NO_ROOM, LlamaContext
from engine.models.llama.costs import StepCosts
from engine.models.llama.line import Line
from engine.models.llama.request import Outbox, Request
from engine.models.llama.sampling import Sampler
from engine.models.llama.sequence import Ahead, Sequence
from engine.models.llama.sequences import Sequences
from engine.models.llama.step import NOTHING, Piece, Step, plan_step
from engine.models.llama.vocabulary import Vocabulary
from hub.errors import HubError, ModelError

log = structlog.get_logger(__name__)

_MOST_FAILURES = 3


@dataclass(slots=True)
class Counts:
    """What was done so far."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0
    steps: int = 0
    step_requests: int = 0
    """Requests that took part in the steps, added up."""
    busy_s: float = 0.0


class Scheduler:
    """Decides what a context computes; all but `interrupt` belongs to the context's thread."""

    def __init__(
        self,
        context: LlamaContext,
        vocabulary: Vocabulary,
        sequences: Sequences,
        costs: StepCosts,
        line: Line,
    ) -> None:
        self.counts = Counts()
        self.line = line
        self.running: list[Request] = []
        self._context = context
        self._vocabulary = vocabulary
        self._sequences = sequences
        self._costs = costs
        self._batch = Batch(context.settings.batch_tokens)
        self._outbox = Outbox()
        self._step = NOTHING
        self._end_tokens = np.array(sorted(vocabulary.end_tokens))

    @property
    def is_idle(self) -> bool:
        """Whether nobody wants anything."""
        return not self.running and not self.line.waiting

    @property
    def memory_bytes(self) -> int:
        """What the sequences take, the saved ones included; safe on any thread."""
        return self._sequences.memory_bytes

    def add(self, request: Request) -> None:
        """Take a request; one that cannot be answered is told so."""
        if request.is_cancelled:
            return
        try:
            request.sampler = Sampler.create(self._vocabulary, request.options)
            self.line.enter(request, self.running)
        except HubError as error:
            self._end(request, error)
        else:
            request.known_tokens = self._sequences.known_tokens(request.prompt, request.requester)

    def cancel(self, request: Request) -> None:
        """Let go of a request, whatever has become of it, before the next step."""
        if request.turn is not None:
            self._end(request)

    def forget(self, audiences: Collection[str]) -> None:
        """Hold nothing that was computed for some audiences, nor what is being computed for them."""
        for request in (*self.running, *self.line.waiting):
            if request.requester.audience in audiences:
                request.requester = replace(request.requester, audience="", returns=False)
                request.own_key = ""
        self._sequences.forget(audiences)

    def interrupt(self) -> None:
        """End the running step when most of it is for requests that were cancelled; safe on any thread."""
        if self._step.is_mostly_cancelled:
            self._context.abort()

    def step(self) -> bool:
        """Compute once for everybody who has a sequence; False when there was nothing to do."""
        self._context.allow()
        self._admit()
        now_s = time.monotonic()
        self.line.tell(self.running, self._outbox, now_s)
        self._step = plan_step(
            self.line.in_order(self.running),
            self._costs,
            batch_tokens=self._batch.capacity,
            guessed_tokens=self._guessed_tokens(),
        )
        # What the last step said is heard while this one is computed; before, both threads would want the interpreter.
        self._outbox.flush(now_s, self._costs.step_s(self._step.prompt_tokens, self._step.answer_tokens))
        if self._step.pieces:
            self._compute(self._step)
        self._step = NOTHING
        if self.is_idle:
            self._outbox.flush(time.monotonic())
        return not self.is_idle

    def _guessed_tokens(self) -> int:
        """Count the rows of logits that are left for guesses, which must be forgotten when they are wrong."""
        room = self._context.settings.output_rows - len(self.running)
        return room if self._context.is_cuttable else 0

    def fail(self, error: ModelError) -> None:
        """Give up all requests, after something that no later step can cure."""
        for request in (*self.running, *self.line.waiting):
            self._end(request, error)
        self._sequences.drop_all()
        self._outbox.flush(time.monotonic())

    def _admit(self) -> None:
        if not self.line.waiting:
            return
        waiting = self.line.in_order(self.line.waiting)
        if len(self.running) == len(self._sequences.all) and not self._make_way(waiting[0]):
            return
        for request in waiting:
            if request.ahead is not None and not request.ahead.is_over:
                continue
            placed = self._sequences.place(
                request.prompt, request.tokens, request.requester, own_key=request.own_key
            )
            if placed is None:
                return
            if isinstance(placed, Ahead):
                request.ahead, request.known_tokens = placed, placed.length
            else:
                self._start(request, placed)

    def _make_way(self, request: Request) -> bool:
        """Interrupt an answer of somebody who has several, for somebody who has none and whose turn it is."""
        people = Counter((one.requester.tier, one.requester.person) for one in self.running)
        last = self.line.in_order([*self.running, request])[-1]
        person = (last.requester.tier, last.requester.person)
        mine = (request.requester.tier, request.requester.person)
        if last is request or people[person] < 2 or people[mine]:
            return False
        self._put_back(last)
        return True

    def _start(self, request: Request, sequence: Sequence) -> None:
        self.line.begin(request)
        request.sequence, request.ahead = sequence, None
        self.running.append(request)
        if request.cached_tokens is None:
            request.cached_tokens = sequence.computed
            self.counts.prompt_tokens += len(request.prompt.tokens)
            self.counts.cached_tokens += sequence.computed
            # What need not be computed is had all the same.
            self.line.work(request, sequence.computed, 0)

    def _compute(self, step: Step) -> None:
        step.write(self._batch)
        copies = self._context.copies
        started = time.monotonic()
        status = self._context.decode(self._batch)
        seconds = time.monotonic() - started
        self.counts.busy_s += seconds
        if status != DONE:
            self._recover(status)
            return
        self.counts.steps += 1
        self.counts.step_requests += len(step.pieces)
        if copies:
            excess = seconds - self._costs.step_s(step.prompt_tokens, step.answer_tokens)
            self._sequences.observe_copies(copies, excess)
        else:
            self._costs.observe(step.prompt_tokens, step.answer_tokens, seconds)
        self._advance(step)

    def _advance(self, step: Step) -> None:
        logits = self._context.logits(self._batch.rows) if self._batch.rows else None
        for piece in step.pieces:
            self.line.work(piece.request, *piece.work)
            piece.sequence.computed += piece.count
            if logits is None or not piece.outputs:
                continue
            try:
                tokens = self._choose(piece, logits[piece.row : piece.row + piece.outputs])
            except HubError as error:
                self._end(piece.request, error)
            else:
                self._say(piece, tokens)

    def _choose(self, piece: Piece, logits: NDArray[np.float32]) -> list[int]:
        """Return the next tokens of an answer: one, and as many more as were guessed rightly."""
        request = piece.request
        if request.options.ignore_end:
            logits[:, self._end_tokens] = -np.inf
        if request.sampler is not None:
            return [request.sampler.sample(logits[0])]
        chosen: list[int] = logits.argmax(axis=1).tolist()
        if not np.isfinite(logits[0, chosen[0]]):
            raise ModelError("the model gave logits that are not numbers")
        right = 0
        while right < len(piece.draft) and chosen[right] == piece.draft[right]:
            right += 1
        if len(piece.draft):
            piece.sequence.append(piece.draft[:right])
            piece.sequence.computed += right
            self._context.cut(piece.sequence.id, piece.sequence.computed)
        return chosen[: right + 1]

    def _say(self, piece: Piece, tokens: list[int]) -> None:
        request = piece.request
        request.guesses.observe(tokens[0])
        before = len(request.generated)
        events = request.accept(tokens, self._vocabulary)
        self.counts.answer_tokens += len(request.generated) - before
        for event in events:
            self._outbox.put(request, event)
        if events and isinstance(events[-1], End):
            self.line.lengths.observe(len(request.generated), is_cut=events[-1].reason == "length")
            self._end(request)
        else:
            piece.sequence.append(tokens[-1:])

    def _end(self, request: Request, error: HubError | None = None) -> None:
        if error is not None:
            self._outbox.put(request, error)
        if request.sampler is not None:
            request.sampler.close()
            request.sampler = None
        if request.sequence is not None:
            self.running.remove(request)
            self._sequences.release(request.sequence)
            request.sequence = None
        elif request.turn is not None:
            self.line.take(request)
        self.line.end(request)

    # -- when a step fails -------------------------------------------------------------------------------------

    def _recover(self, status: int) -> None:
        if status == ABORTED and self._context.is_cuttable:
            self._sequences.undo()
            return
        if status != ABORTED:
            log.warning("step_failed", status=status, running=len(self.running), tokens=len(self._batch))
        if status != NO_ROOM:
            self._begin_again(is_failure=status != ABORTED)
        elif not self._sequences.make_room():
            last = self.line.in_order(self.running)[-1]
            self._put_back(last)
            self._count_failure(last)

    def _begin_again(self, *, is_failure: bool) -> None:
        """Let all begin again with what they have said so far: what llama.cpp holds is unknown."""
        requests, self.running = self.running, []
        self._sequences.drop_all()
        for request in requests:
            request.sequence = None
            self.line.put_back(request)
            if is_failure:
                self._count_failure(request)

    def _put_back(self, request: Request) -> None:
        """Take a request's sequence away; it goes on where it was once there is room again."""
        assert request.sequence is not None
        self.running.remove(request)
        request.own_key = self._sequences.suspend(request.sequence)
        request.sequence = None
        self.line.put_back(request)

    def _count_failure(self, request: Request) -> None:
        request.failures += 1
        if request.failures > _MOST_FAILURES:
            self._end(request, ModelError("llama.cpp could not compute the next tokens"))
