"""Look-ups that requests of one moment share: a hundred with one key need not ask the database a hundred times."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Found = TypeVar("Found")


class SharedLookups(Generic[Found]):
    """Looks things up, each at most once at a time.

    A look-up is shared by those alone who asked before it began: nobody is told what was true before they asked.
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[Found]] = {}
        self._waiting: dict[str, asyncio.Task[Found]] = {}

    async def of(self, name: str, look_up: Callable[[str], Awaitable[Found]]) -> Found:
        """Return what a name leads to; whatever the look-up raises, all who share it are told."""
        task = self._waiting.get(name)
        if task is None:
            task = asyncio.create_task(self._after(self._running.get(name), name, look_up))
            # Nobody may be left who would be told.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._waiting[name] = task
        # One client that leaves must not end what others wait for.
        return await asyncio.shield(task)

    async def _after(
        self, earlier: asyncio.Task[Found] | None, name: str, look_up: Callable[[str], Awaitable[Found]]
    ) -> Found:
        if earlier is not None:
            await asyncio.wait({earlier})
        task = self._waiting.pop(name)
        self._running[name] = task
        try:
            return await look_up(name)
        finally:
            if self._running.get(name) is task:
                del self._running[name]
