"""Loads models when they are asked for, keeps them within the memory there is, and replaces them under way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection

import structlog

from engine.models.base import ChatModel, Forgetting
from engine.models.failures import Failures
from engine.models.fallback import use_with_fallbacks
from engine.models.identity import identity_of
from engine.models.opener import ModelOpener
from engine.models.slot import Slot
from engine.models.slots import Abandoned, Slots
from hub.errors import HubError, ModelError, ModelUnavailable
from hub.model_registry import ModelRegistry
from hub.model_settings import ModelSettings

log = structlog.get_logger(__name__)

MEASURED_TOLERANCE = 1.25
"""What a loaded model takes is measured with the pages of its libraries, of which no plan knows."""
CLOSE_S = 10.0
"""For models to end at the very end, before their processes are killed."""


class ModelManager:
    """Gives models by name; each is loaded once for all who ask."""

    def __init__(self, registry: ModelRegistry, opener: ModelOpener, *, memory_budget_bytes: int) -> None:
        self.registry = registry
        self.slots = Slots(opener, memory_budget_bytes)
        self.failures = Failures()
        self._opener = opener
        self._swapping = asyncio.Lock()
        self._watching: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @contextlib.asynccontextmanager
    async def use(self, name: str = "") -> AsyncIterator[ChatModel]:
        """Give a model by its name or a role; it stays loaded while the block lasts.

        Raises:
            UnknownModel: there is none of this name.
            ModelUnavailable: it cannot be loaded for now.
        """
        name = self.registry.resolve(name)
        if fallbacks := self.registry.settings_of(name).fallbacks:
            async with use_with_fallbacks([name, *fallbacks], self._use_one) as model:
                yield model
            return
        async with self._use_one(name) as model:
            yield model

    @contextlib.asynccontextmanager
    async def _use_one(self, name: str) -> AsyncIterator[ChatModel]:
        slot = await self._enter(self.registry.resolve(name))
        try:
            yield slot.model
        finally:
            slot.leave()

    async def load(self, name: str) -> None:
        """Load a model unless it is, also when it has just failed.

        Raises: UnknownModel, ModelUnavailable.
        """
        name = self.registry.resolve(name)
        self.failures.forget(name)
        slot = await self._enter(name)
        slot.leave()

    def unload(self, name: str) -> asyncio.Task[None] | None:
        """Give a model to nobody any more; its memory is free when the task has ended, None where it was.

        Raises: UnknownModel.
        """
        slot = self.slots.current.get(self.registry.resolve(name))
        return self.slots.retire(slot) if slot else None

    async def forget(self, audiences: Collection[str]) -> None:
        """Let all models that are loaded let go of what they hold for audiences alone."""
        for slot in list(self.slots.everything()):
            if slot.is_loaded and isinstance(slot.model, Forgetting):
                # One that fails holds nothing any more.
                with contextlib.suppress(ModelError):
                    await slot.model.forget(audiences)

    async def swap(self, name: str, settings: ModelSettings | None = None) -> None:
        """Replace a loaded model by what the registry says now: who uses the old one keeps it to the end.

        Args:
            name: of a model; one that is not loaded is not loaded now either.
            settings: new ones for the registry; None takes what is there.

        Raises: ModelUnavailable: the new one cannot be loaded; the old one stays.
        """
        if settings is not None:
            self.registry.put(name, settings)
        async with self._swapping:
            if name not in self.slots.current:
                return
            slot = self.slots.coming[name] = self._new_slot(name)
            slot.enter()
            try:
                await slot.ready()
                if self.slots.coming.pop(name, None) is not slot:
                    raise ModelUnavailable(slot.failure or f"model {name} was unloaded meanwhile")
                if old := self.slots.current.get(name):
                    self.slots.retire(old)
                self.slots.current[name] = slot
                log.info("model_swapped", model=name)
            finally:
                slot.leave()

    async def close(self) -> None:
        """Unload everything; what still runs after a while is ended."""
        self._is_closed = True
        slots = list(self.slots.everything())
        for slot in slots:
            if slot.loading and not slot.loading.done():
                slot.loading.cancel()
            self.slots.retire(slot)
        if self.slots.closing:
            await asyncio.wait(list(self.slots.closing.values()), timeout=CLOSE_S)
        for slot in slots:
            slot.kill()
        for task in (*self.slots.closing.values(), *self._watching):
            task.cancel()
        await asyncio.gather(*self.slots.closing.values(), *self._watching, return_exceptions=True)

    def identity(self, name: str) -> str:
        """Digest what a model is made of; asking for another one of the same name begins when it changes."""
        settings = self.registry.settings_of(name)
        with contextlib.suppress(ModelError):
            settings = self._opener.resolved(name, settings)
            return identity_of(name, settings)
        return ""

    async def identity_of(self, name: str) -> str:
        """Digest the model that a name or role means; see `identity`.

        Raises: UnknownModel: there is none.
        """
        return await asyncio.to_thread(self.identity, self.registry.resolve(name))

    async def _enter(self, name: str) -> Slot:
        while not self._is_closed:
            if self.slots.find(name) is None:
                await self.failures.pause(name, self.identity(name))
            slot = self.slots.find(name) or self._begin(name)
            slot.enter()
            try:
                await slot.ready()
            except BaseException:
                slot.leave()
                raise
            if slot.is_loaded:
                return slot
            slot.leave()
            self._note_end(slot)
        raise ModelUnavailable("the models are closed")

    def _begin(self, name: str) -> Slot:
        slot = self.slots.current[name] = self._new_slot(name)
        return slot

    def _new_slot(self, name: str) -> Slot:
        slot = Slot(name, self.registry.settings_of(name), self.identity(name))
        slot.loading = asyncio.create_task(self._open(slot), name=f"loading {name}")
        return slot

    async def _open(self, slot: Slot) -> None:
        clock = asyncio.get_running_loop().time
        began_s = clock()
        try:
            await self.slots.admit(slot)
            await slot.open(self._opener, min(self.slots.limits_of(slot.settings).values()))
            self.slots.know_limits(slot, tolerance=MEASURED_TOLERANCE)
        except Abandoned as error:
            slot.error = str(error)
            self.slots.retire(slot)
        except HubError as error:
            self._give_up(slot, str(error))
        except Exception as error:
            log.exception("model_load_broke", model=slot.name)
            self._give_up(slot, f"model {slot.name} cannot be loaded: {type(error).__name__}")
        else:
            self.failures.note_loaded(slot.name)
            if slot.process_id:
                task = asyncio.create_task(self._watch(slot), name=f"watching {slot.name}")
                self._watching.add(task)
                task.add_done_callback(self._watching.discard)
            took_s = round(clock() - began_s, 2)
            log.info("model_loaded", model=slot.name, load_s=took_s, memory_mib=slot.memory_bytes >> 20)

    def _give_up(self, slot: Slot, error: str) -> None:
        log.error("model_load_failed", model=slot.name, error=error)
        slot.error = error
        self.failures.note_refused(slot.name, slot.identity, error)
        self.slots.retire(slot)

    async def _watch(self, slot: Slot) -> None:
        await slot.wait_for_end()
        self._note_end(slot)

    def _note_end(self, slot: Slot) -> None:
        """Let the next one who asks have it loaded again."""
        if slot not in self.slots.closing:
            self.failures.note_ended(slot.name, slot.identity, slot.failure, ran_s=slot.age_s)
            self.slots.retire(slot)
