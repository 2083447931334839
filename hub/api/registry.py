"""The registry of models as the API asks an engine about it: what models there are and do, loading and unloading."""

from collections.abc import Mapping
from typing import Any, Literal

import structlog
from pydantic import TypeAdapter, ValidationError

from hub.api.actors import Actor, note_change
from hub.api.problems import Problem, unavailable
from hub.bus.calls import Caller, CallFailed
from hub.model_states import ModelState

log = structlog.get_logger(__name__)

LIST_TIMEOUT_S = 10.0
LOAD_TIMEOUT_S = 600.0

Action = Literal["load", "unload"]

_STATES = TypeAdapter(list[ModelState])


class Registry:
    """The models; every method raises Problem, 502 or 503, where no engine tells of them, and BusError."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def states(self) -> list[ModelState]:
        """Return all models and what they do, by name."""
        return await self._call({"action": "list"}, timeout_s=LIST_TIMEOUT_S)

    async def change(self, who: Actor, action: Action, model: str) -> list[ModelState]:
        """Load or unload a model, note who has done so, and return it as it is now.

        Args:
            model: its name, or a role.

        Raises: Problem: 404 where there is none of the name.
        """
        # A role is a name of its own: which model it means is the registry's to say.
        if not _named(model, await self.states()):
            raise unknown_model()
        states = await self._call({"action": action, "model": model}, timeout_s=LOAD_TIMEOUT_S)
        changed = _named(model, states)
        for state in changed:
            note_change(who, f"model_{action}ed", state.name)
        return changed

    async def _call(self, request: Mapping[str, Any], *, timeout_s: float) -> list[ModelState]:
        try:
            found = await self._caller.call("models", request, timeout_s=timeout_s)
            return _STATES.validate_python(found["models"])
        except CallFailed as error:
            log.warning("models_call_failed", action=request["action"], error=str(error))
            if request["action"] == "list":
                raise unavailable("No engine tells of its models for now.", code="no_engine") from error
            # Meant for people by the engine, and asked for by somebody who may change models.
            raise unavailable(str(error), code="model_unavailable") from error
        except (ValidationError, KeyError, TypeError) as error:
            raise Problem(502, "bad_answer", "The engine's answer cannot be read.") from error


def unknown_model() -> Problem:
    """Say that no model has the name."""
    return Problem(404, "model_not_found", "There is no model of this name.")


def _named(model: str, states: list[ModelState]) -> list[ModelState]:
    return [state for state in states if model == state.name or model in state.roles]
