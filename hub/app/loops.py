"""The loops of a process: they run side by side under names, and end together."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Something that runs until `stop` is set."""

    name: str
    run: Callable[[asyncio.Event], Awaitable[None]]


async def run_loops(loops: Iterable[Loop], stop: asyncio.Event) -> None:
    """Run loops until `stop` is set; the first that fails sets it, and its error is raised once all have drained."""
    failures: list[Exception] = []

    async def watch(loop: Loop) -> None:
        try:
            await loop.run(stop)
            if not stop.is_set():
                # A loop that ends by itself would leave a process that looks alive and does nothing.
                raise RuntimeError(f"{loop.name} ended before it was told to")
        except Exception as error:
            log.error("loop_failed", loop=loop.name, error=type(error).__name__)
            # Raised here it would cut the others off, and be told in a group; so they drain as at SIGTERM.
            failures.append(error)
            stop.set()

    async with asyncio.TaskGroup() as tasks:
        for loop in loops:
            tasks.create_task(watch(loop), name=loop.name)
    if failures:
        raise failures[0]


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
