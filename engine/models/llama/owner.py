"""The thread that owns a context: requests come in by a queue, what they say goes out to the event loops."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

import structlog

from engine.models.llama.request import Request
from engine.models.llama.scheduler import Scheduler
from hub.errors import ModelError

log = structlog.get_logger(__name__)

Opened = tuple[Scheduler, Callable[[], None]]
"""A scheduler, and what frees all it works with."""


class Owner:
    """Runs a scheduler on a thread of its own, for as long as somebody may ask."""

    def __init__(self, name: str, open_scheduler: Callable[[], Opened]) -> None:
        self._open_scheduler = open_scheduler
        self._opened: Future[Scheduler] = Future()
        self._ended: Future[None] = Future()
        self._arrived: deque[Request] = deque()
        self._cancelled: deque[Request] = deque()
        self._wake = threading.Event()
        self._is_closing = False
        # Ends with the program if nobody closes it.
        self._thread = threading.Thread(target=self._run, name=f"llama-{name}", daemon=True)

    async def start(self) -> Scheduler:
        """Open the scheduler on its thread.

        Raises: ModelError: it could not be opened.
        """
        self._thread.start()
        try:
            return await asyncio.wrap_future(self._opened)
        except asyncio.CancelledError:
            self._is_closing = True
            self._wake.set()
            raise

    def submit(self, request: Request) -> None:
        """Let a request be answered."""
        self._arrived.append(request)
        self._wake.set()

    def cancel(self, request: Request) -> None:
        """Let a request be forgotten before the next token is computed; one that has ended already may be given."""
        request.is_cancelled = True
        self._cancelled.append(request)
        self._wake.set()
        self._opened.result().interrupt()

    async def close(self) -> None:
        """Free everything once the running answers have ended."""
        self._is_closing = True
        self._wake.set()
        await asyncio.wrap_future(self._ended)

    def _run(self) -> None:
        try:
            scheduler, close_all = self._open_scheduler()
        except BaseException as error:
            self._opened.set_exception(error)
            self._ended.set_result(None)
            return
        # A cancelled start leaves the future cancelled; the thread then ends by itself.
        with contextlib.suppress(Exception):
            self._opened.set_result(scheduler)
        try:
            self._serve(scheduler)
        finally:
            close_all()
            self._ended.set_result(None)

    def _serve(self, scheduler: Scheduler) -> None:
        while True:
            self._wake.clear()
            while self._arrived:
                scheduler.add(self._arrived.popleft())
            while self._cancelled:
                scheduler.cancel(self._cancelled.popleft())
            try:
                is_busy = scheduler.step()
            except Exception as error:
                log.exception("step_broke_off")
                problem = ModelError(f"the model failed: {type(error).__name__}")
                problem.__cause__ = error
                scheduler.fail(problem)
                is_busy = False
            if is_busy or self._arrived:
                continue
            if self._is_closing:
                return
            self._wake.wait()
