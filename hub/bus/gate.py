"""Keeps a head that may end its process away from the others of that process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Gate:
    """Lets many in together, or one alone; whoever wants to be alone keeps newcomers out."""

    def __init__(self) -> None:
        self._inside = 0
        self._wanting_alone = 0
        self._changed = asyncio.Condition()

    @property
    def is_wanted_alone(self) -> bool:
        """Whether those inside should leave at the next good moment."""
        return self._wanting_alone > 0

    @contextlib.asynccontextmanager
    async def entered(self, *, alone: bool) -> AsyncIterator[None]:
        """Wait outside until there is room, and be inside while the block lasts."""
        self._wanting_alone += int(alone)
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._inside if alone else not self.is_wanted_alone)
                self._inside += 1
            try:
                yield
            finally:
                self._inside -= 1
        finally:
            self._wanting_alone -= int(alone)
            async with self._changed:
                self._changed.notify_all()
