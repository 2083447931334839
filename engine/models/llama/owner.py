"""The thread that owns a context: requests come in by a queue, what they say goes out to the event loops."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection
from concurrent.futures import Future
from typing import Protocol

import structlog

from engine.models.base import End, GenerateEvent, ModelStatistics
from engine.models.llama.line import Line
from engine.models.llama.request import Request
from engine.models.llama.scheduler import Counts
from hub.errors import HubError, ModelError

log = structlog.get_logger(__name__)


class Steps(Protocol):
    """What computes for all requests step by step; all but `interrupt` and what is read belongs to the owner's thread."""

    counts: Counts
    line: Line
    running: list[Request]

    @property
    def memory_bytes(self) -> int:
        """What it takes; safe on any thread."""

    def add(self, request: Request) -> None:
        """Take a request; one that cannot be answered is told so."""

    def cancel(self, request: Request) -> None:
        """Let go of a request, whatever has become of it, before the next step."""

    def forget(self, audiences: Collection[str]) -> None:
        """Hold nothing that was computed for some audiences."""

    def interrupt(self) -> None:
        """End the running step where that is worth it; safe on any thread."""

    def step(self) -> bool:
        """Compute once for everybody; False when there was nothing to do."""

    def fail(self, error: ModelError) -> None:
        """Give up all requests, after something that no later step can cure."""


Opened = tuple[Steps, Callable[[], None]]
"""What computes, and what frees all it works with."""


class Owner:
    """Runs what computes on a thread of its own, for as long as somebody may ask."""

    def __init__(self, name: str, open_steps: Callable[[], Opened]) -> None:
        self._open_steps = open_steps
        self._opened: Future[Steps] = Future()
        self._ended: Future[None] = Future()
        self._arrived: deque[Request | frozenset[str]] = deque()
        """Requests, and audiences to be forgotten, in the order in which they came: it decides what belongs to whom."""
        self._cancelled: deque[Request] = deque()
        self._wake = threading.Event()
        self._is_closing = False
        # Ends with the program if nobody closes it.
        self._thread = threading.Thread(target=self._run, name=f"llama-{name}", daemon=True)

    async def start(self) -> None:
        """Open what computes on its thread.

        Raises: ModelError: it could not be opened.
        """
        self._thread.start()
        try:
            await asyncio.wrap_future(self._opened)
        except asyncio.CancelledError:
            self._is_closing = True
            self._wake.set()
            raise

    async def answer(self, request: Request) -> AsyncGenerator[GenerateEvent]:
        """Let a request be answered, and give what comes of it; closing the iterator cancels it.

        Raises: HubError: it could not be answered.
        """
        self._arrived.append(request)
        self._wake.set()
        try:
            while not isinstance(event := await request.events.get(), End):
                if isinstance(event, HubError):
                    raise event
                yield event
            yield event
        finally:
            self.cancel(request)

    def statistics(self) -> ModelStatistics:
        """Tell what is and was done."""
        steps = self._opened.result()
        counts = steps.counts
        return ModelStatistics(
            memory_bytes=steps.memory_bytes,
            running=len(steps.running),
            waiting=len(steps.line.waiting),
            prompt_tokens=counts.prompt_tokens,
            cached_tokens=counts.cached_tokens,
            answer_tokens=counts.answer_tokens,
            steps=counts.steps,
            step_requests=counts.step_requests,
            busy_s=counts.busy_s,
        )

    def cancel(self, request: Request) -> None:
        """Let a request be forgotten before the next token is computed; one that has ended already may be given."""
        request.is_cancelled = True
        self._cancelled.append(request)
        self._wake.set()
        self._opened.result().interrupt()

    def forget(self, audiences: Collection[str]) -> None:
        """Let nothing be held that was computed for some audiences; it is so before the next token is computed."""
        self._arrived.append(frozenset(audiences))
        self._wake.set()

    async def close(self) -> None:
        """Free everything once the running answers have ended."""
        self._is_closing = True
        self._wake.set()
        await asyncio.wrap_future(self._ended)

    def _run(self) -> None:
        try:
            steps, close_all = self._open_steps()
        except BaseException as error:
            self._opened.set_exception(error)
            self._ended.set_result(None)
            return
        # A cancelled start leaves the future cancelled; the thread then ends by itself.
        with contextlib.suppress(Exception):
            self._opened.set_result(steps)
        try:
            self._serve(steps)
        finally:
            close_all()
            self._ended.set_result(None)

    def _serve(self, steps: Steps) -> None:
        while True:
            self._wake.clear()
            while self._arrived:
                if isinstance(arrived := self._arrived.popleft(), Request):
                    steps.add(arrived)
                else:
                    steps.forget(arrived)
            while self._cancelled:
                steps.cancel(self._cancelled.popleft())
            try:
                is_busy = steps.step()
            except Exception as error:
                log.exception("step_broke_off")
                problem = ModelError(f"the model failed: {type(error).__name__}")
                problem.__cause__ = error
                steps.fail(problem)
                is_busy = False
            if is_busy or self._arrived:
                continue
            if self._is_closing:
                return
            self._wake.wait()
