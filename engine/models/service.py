"""Tells about the models of all engines, and carries out orders to load and unload them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from engine.models.manager import ModelManager
from engine.models.slot import Slot
from hub.bus.control import Order
from hub.errors import BusError, HubError, ModelError
from hub.model_settings import LocalModelSettings, ModelSettings, RemoteSettings
from hub.model_states import ModelState, ModelStates, merged
from hub.waiting import happens

log = structlog.get_logger(__name__)

WRITE_S = 3.0
MEASURE_S = 0.5


class ModelService:
    """The service `models` of one engine."""

    def __init__(
        self, manager: ModelManager, states: ModelStates, order: Callable[[Order], Awaitable[None]]
    ) -> None:
        self._manager = manager
        self._states = states
        self._order = order
        self._obeying: set[asyncio.Task[None]] = set()

    async def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """List the models; before that let all engines load or unload one, and wait until this one has.

        Raises: HubError: there is no such model or action.
        """
        match request:
            case {"action": "list"}:
                pass
            case {"action": "load" | "unload" as action, "model": str(model)}:
                order = Order(action=action, model=self._manager.registry.resolve(model))
                # This engine will hear it too, which changes nothing any more.
                await self._order(order)
                await self._carry_out(order)
            case _:
                raise HubError("the models can be asked to list, load or unload")
        await self._measure()
        found = merged([*self.own_states(), *await self._states.others()])
        return {"models": [state.model_dump(mode="json") for state in found]}

    async def _measure(self) -> None:
        """Let what is told be of this moment; a model that does not answer soon is told of as it was."""
        slots = [slot for slot in self._manager.slots.everything() if slot.is_loaded]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MEASURE_S):
                await asyncio.gather(*(slot.measure() for slot in slots), return_exceptions=True)

    def obey(self, order: Order) -> None:
        """Load or unload a model here, or let all forget somebody; other orders are not for the models."""
        if order.action in ("forget", "load", "unload"):
            task = asyncio.create_task(self._carry_out(order))
            self._obeying.add(task)
            task.add_done_callback(self._obeying.discard)

    async def run(self, stop: asyncio.Event) -> None:
        """Write this engine's states down for the others until `stop` is set."""
        while not stop.is_set():
            try:
                await self._states.write(self.own_states())
            except BusError as error:
                log.warning("model_states_not_written", error=str(error))
            await happens(stop, within_s=WRITE_S)
        for task in self._obeying:
            task.cancel()
        with contextlib.suppress(BusError):
            await self._states.withdraw()

    def own_states(self) -> list[ModelState]:
        """Tell what the models of this engine do."""
        self._manager.registry.refresh()
        return [self._state(name, settings) for name, settings in self._manager.registry.models.items()]

    async def _carry_out(self, order: Order) -> None:
        # What goes wrong is logged by the manager, and to be seen in the model's state.
        with contextlib.suppress(ModelError):
            if order.action == "forget":
                await self._manager.forget(order.audiences)
            elif order.action == "load":
                await self._manager.load(order.model)
            elif closing := self._manager.unload(order.model):
                await asyncio.wait({closing})

    def _state(self, name: str, settings: ModelSettings) -> ModelState:
        slot = self._manager.slots.find(name)
        error = self._manager.failures.error_of(name)
        is_loaded = bool(slot and slot.is_loaded)
        state = "loaded" if is_loaded else "loading" if slot else "failed" if error else "unloaded"
        return ModelState.model_validate(
            {
                "name": name,
                "type": settings.type,
                "state": state,
                "error": error,
                "roles": self._manager.registry.roles_of(name),
                "path": _shown_path(settings),
                "context_length": slot.model.context_length
                if slot and is_loaded
                else settings.context_length,
                "parallel": settings.parallel if isinstance(settings, LocalModelSettings) else 0,
                "quantization": getattr(settings, "quantization", ""),
                **(_statistics(slot) if slot else {}),
            }
        )


def _statistics(slot: Slot) -> dict[str, Any]:
    told = slot.statistics
    return {
        "engines": int(slot.is_loaded),
        "memory_bytes": slot.memory_bytes,
        "running": told.running,
        "waiting": told.waiting,
        "prompt_tokens": told.prompt_tokens,
        "cached_tokens": told.cached_tokens,
        "answer_tokens": told.answer_tokens,
        "steps": told.steps,
        "step_requests": told.step_requests,
        "busy_s": round(told.busy_s, 3),
        "last_used": slot.last_used,
    }


def _shown_path(settings: ModelSettings) -> str:
    # Never the whole path: who may list models need not know how the machine is laid out.
    return settings.model if isinstance(settings, RemoteSettings) else Path(settings.path).name
