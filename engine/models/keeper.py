"""Looks after loaded models: what changed, what hangs, what nobody uses any more."""

import asyncio

import structlog

from engine.models.manager import ModelManager
from engine.models.slot import Slot
from hub.errors import ModelError
from hub.waiting import happens

log = structlog.get_logger(__name__)

LOOK_S = 2.0
ANSWER_S = 60.0
"""For a model to tell what it does; one that does not is ended, and loaded again when somebody asks."""


class ModelKeeper:
    """Keeps a manager's models as the registry and the settings want them."""

    def __init__(self, manager: ModelManager, *, idle_unload_s: float, answer_s: float = ANSWER_S) -> None:
        self._manager = manager
        self._idle_unload_s = idle_unload_s
        self._answer_s = answer_s
        self._swaps: dict[str, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Look again and again until `stop` is set."""
        while not stop.is_set():
            await self.look()
            await happens(stop, within_s=LOOK_S)
        for task in self._swaps.values():
            task.cancel()
        await self.settle()

    async def settle(self) -> None:
        """Wait until the swaps that were begun have ended."""
        await asyncio.gather(*self._swaps.values(), return_exceptions=True)

    async def look(self) -> None:
        """Look once."""
        slots = self._manager.slots
        await asyncio.gather(*(self._measure(slot) for slot in slots.everything() if slot.is_loaded))
        self._manager.registry.refresh()
        for slot in list(slots.current.values()):
            if slot.name not in self._manager.registry.models:
                log.info("model_removed", model=slot.name)
                slots.retire(slot)
            elif slot.is_loaded and 0 < self._idle_unload_s <= slot.idle_s:
                slots.retire(slot)
            elif slot.is_loaded:
                self._swap_if_changed(slot)
        slots.shrink()

    async def _measure(self, slot: Slot) -> None:
        try:
            async with asyncio.timeout(self._answer_s):
                await slot.measure()
        except TimeoutError:
            log.error("model_unresponsive", model=slot.name, for_s=self._answer_s)
            slot.kill()
        except ModelError as error:
            log.warning("model_not_measured", model=slot.name, error=str(error))

    def _swap_if_changed(self, slot: Slot) -> None:
        name = slot.name
        identity = self._manager.identity(name)
        is_wanted = identity != slot.identity and self._manager.failures.is_due(name, identity)
        if is_wanted and (name not in self._swaps or self._swaps[name].done()):
            self._swaps[name] = asyncio.create_task(self._swap(name), name=f"swapping {name}")

    async def _swap(self, name: str) -> None:
        try:
            await self._manager.swap(name)
        except ModelError as error:
            # The log has said why; the model that is loaded goes on.
            log.warning("model_not_swapped", model=name, error=str(error))
