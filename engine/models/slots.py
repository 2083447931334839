"""All models that are loaded or about to be, and those that go: together they share the memory there is."""

import asyncio
from collections.abc import Iterator

import structlog

from engine.models.opener import ModelOpener
from engine.models.slot import Slot
from hub.errors import HubError, ModelError
from hub.model_settings import LocalModelSettings, ModelSettings, bytes_of

log = structlog.get_logger(__name__)

ROOM_S = 60.0
"""For models in use to end, where a model needs their memory; a turn that waits longer is no answer to anybody."""


class Abandoned(ModelError):
    """The model was not even tried: it got no room in time, or nobody waits for it any more."""


class Slots:
    """Makes room for models; the least recently used go first, and none while it is used."""

    def __init__(self, opener: ModelOpener, budget_bytes: int) -> None:
        self.current: dict[str, Slot] = {}
        """Those that new requests get, by name."""
        self.coming: dict[str, Slot] = {}
        """Those that are loaded to take the place of a current one."""
        self.closing: dict[Slot, asyncio.Task[None]] = {}
        self._opener = opener
        self._budget_bytes = budget_bytes
        self._making_room = asyncio.Lock()

    def find(self, name: str) -> Slot | None:
        """Return what serves this name now, or will soon."""
        return self.current.get(name) or self.coming.get(name)

    def everything(self) -> Iterator[Slot]:
        """Yield all slots that may take memory."""
        yield from (*self.current.values(), *self.coming.values(), *self.closing)

    def used_bytes(self) -> int:
        """Add up what is taken, or promised to what is being loaded."""
        shared: dict[int, int] = {}
        own = 0
        for slot in self.everything():
            if slot.failure:
                continue
            if slot.process_id:
                # Several models in one process all report the memory of the whole.
                shared[slot.process_id] = max(slot.memory_bytes, shared.get(slot.process_id, 0))
            elif slot.is_admitted:
                own += slot.memory_bytes
        return own + sum(shared.values())

    def retire(self, slot: Slot) -> asyncio.Task[None]:
        """Give a model to nobody any more, and close it when those who use it are done."""
        for slots in (self.current, self.coming):
            if slots.get(slot.name) is slot:
                del slots[slot.name]
        if slot not in self.closing:
            self.closing[slot] = asyncio.create_task(self._close(slot), name=f"closing {slot.name}")
        return self.closing[slot]

    async def _close(self, slot: Slot) -> None:
        try:
            await slot.close(self._opener)
            if not slot.error:
                log.info("model_unloaded", model=slot.name)
        except HubError as error:
            log.warning("model_not_closed", model=slot.name, error=str(error))
        finally:
            del self.closing[slot]

    async def admit(self, slot: Slot) -> None:
        """Wait until there is room for a model, and give it to it.

        Raises: ModelError: it would never fit, or nobody waits for it any more.
        """
        slot.memory_bytes = self._opener.estimate(slot.name, slot.settings)
        self.know_limits(slot)
        # First come, first served: what makes room for one must not be taken by the next.
        async with self._making_room:
            try:
                async with asyncio.timeout(ROOM_S):
                    await self._make_room(slot)
            except TimeoutError:
                raise Abandoned(f"models in use leave no memory for model {slot.name}") from None
            slot.is_admitted = True

    async def _make_room(self, slot: Slot) -> None:
        while self.used_bytes() + slot.memory_bytes > self._budget_bytes:
            if not slot.users:
                raise Abandoned(f"nobody waits for model {slot.name} any more")
            if not await self._free_some(slot):
                return

    async def _free_some(self, slot: Slot) -> bool:
        """Let the least recently used model go; tells whether anything can be waited for."""
        others = [one for one in self.current.values() if one is not slot and one.is_loaded]
        idle = [one for one in others if not one.users]
        if victims := idle or ([] if self.closing else others):
            self.retire(min(victims, key=lambda one: one.used_at_s))
        loading = [
            one.loading for one in self.everything() if one.is_admitted and not one.is_loaded and one.loading
        ]
        ending = [*self.closing.values(), *(task for task in loading if not task.done())]
        if ending:
            await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
        return bool(ending)

    def shrink(self) -> None:
        """Let an idle model go where those that are loaded have outgrown the budget."""
        idle = [one for one in self.current.values() if one.is_loaded and not one.users]
        if idle and len(self.current) > 1 and not self.closing and self.used_bytes() > self._budget_bytes:
            self.retire(min(idle, key=lambda one: one.used_at_s))

    def limits_of(self, settings: ModelSettings) -> dict[str, int]:
        """Say how many bytes a model may take, by the setting that says so."""
        limits = {"engine.memory_budget": self._budget_bytes}
        if isinstance(settings, LocalModelSettings) and settings.max_memory.strip():
            limits["max_memory"] = bytes_of(settings.max_memory)
        return limits

    def know_limits(self, slot: Slot, *, tolerance: float = 1.0) -> None:
        """Refuse a model that takes more than it may.

        Raises: ModelError.
        """
        if not slot.is_alone:
            return
        for setting, limit_bytes in self.limits_of(slot.settings).items():
            if slot.memory_bytes > limit_bytes * tolerance:
                raise ModelError(
                    f"model {slot.name} takes {slot.memory_bytes >> 20} MiB, and {setting} allows "
                    f"{limit_bytes >> 20} MiB"
                )
