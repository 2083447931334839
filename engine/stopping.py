"""Turns that can be stopped while they run: who cancels one frees the model at once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from hub.bus.bus import Bus
from hub.bus.control import Order
from hub.errors import BusError

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Stopped(Exception):
    """The turn was cancelled by whoever asked; its work has ended."""


@dataclass(slots=True, eq=False)
class _Running:
    turn: str
    conversation: str
    work: asyncio.Task[Any]
    is_stopped: bool = False


class RunningTurns:
    """The turns of this process; an order to cancel ends the work of those that are marked as cancelled."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._running: set[_Running] = set()
        self._looking: set[asyncio.Task[None]] = set()

    async def run(self, turn: str, conversation: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work of a turn.

        Raises: Stopped: the turn is cancelled, before it began or meanwhile. BusError: Redis is away.
        """
        working = asyncio.create_task(self._unless_cancelled(turn, conversation, work))
        running = _Running(turn, conversation, working)
        self._running.add(running)
        try:
            await asyncio.wait({working})
        except asyncio.CancelledError:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            raise
        finally:
            self._running.discard(running)
        if running.is_stopped and (working.cancelled() or working.exception()):
            raise Stopped
        return working.result()

    def obey(self, order: Order) -> None:
        """Stop the turns an order means, if they run here."""
        if order.action != "cancel":
            return
        for running in self._running:
            if running.conversation == order.conversation and order.turn in ("", running.turn):
                task = asyncio.create_task(self._stop_if_cancelled(running))
                self._looking.add(task)
                task.add_done_callback(self._looking.discard)

    async def _unless_cancelled(self, turn: str, conversation: str, work: Callable[[], Awaitable[T]]) -> T:
        # The turn stands among the running ones already: an order from now on is heard, one before is marked.
        if await self._bus.is_cancelled(conversation, turn):
            raise Stopped
        return await work()

    async def _stop_if_cancelled(self, running: _Running) -> None:
        try:
            is_cancelled = await self._bus.is_cancelled(running.conversation, running.turn)
        except BusError as error:
            # The commit looks again, and is refused.
            log.warning("cancel_not_looked_up", turn=running.turn, error=str(error))
            return
        if is_cancelled and running in self._running and not running.work.done():
            log.info("turn_stopped", turn=running.turn, conversation=running.conversation)
            running.is_stopped = True
            running.work.cancel()
