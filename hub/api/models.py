"""The registry of models over HTTP: what there is and does, loading and unloading."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from hub.api.body import read_json, read_query
from hub.api.openai.embeddings import embedded
from hub.api.parts import ApiParts
from hub.api.problems import Problem, unavailable
from hub.api.requests import ASSISTANT, MAX_MODEL_CHARS
from hub.api.schemas import Asked, NoQuery
from hub.bus.calls import CallFailed
from hub.keys import MODELS_SCOPE, ApiKey
from hub.model_states import ModelState

log = structlog.get_logger(__name__)

LIST_TIMEOUT_S = 10.0
LOAD_TIMEOUT_S = 600.0

_STATES = TypeAdapter(list[ModelState])


class ModelQuery(Asked):
    """Which model."""

    model: Annotated[str, Field(min_length=1, max_length=MAX_MODEL_CHARS)]


class ModelsAnswer(BaseModel):
    """Models of the registry."""

    models: list[ModelState]


class ModelRoutes:
    """Models, in the hub's own form and in that of OpenAI's API."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    async def show_all(self, request: web.Request, key: ApiKey) -> web.Response:
        """Answer with all models and what they do."""
        read_query(request, NoQuery)
        states = await self._states()
        if MODELS_SCOPE not in key.scopes:
            # Why a model failed may name files and servers.
            states = [state.model_copy(update={"error": "", "path": ""}) for state in states]
        return _json(ModelsAnswer(models=states).model_dump(mode="json"))

    async def load(self, request: web.Request, key: ApiKey) -> web.Response:
        """Load a model and answer with its state."""
        return await self._change(request, "load")

    async def unload(self, request: web.Request, key: ApiKey) -> web.Response:
        """Unload a model once nobody uses it, and answer with its state."""
        return await self._change(request, "unload")

    async def list_openai(self, request: web.Request, key: ApiKey) -> web.Response:
        """Answer with all names that a request may give as its model."""
        read_query(request, NoQuery)
        return _json({"object": "list", "data": [_model_object(name) for name in await self._names()]})

    async def show_openai(self, request: web.Request, key: ApiKey) -> web.Response:
        """Answer with one of these names."""
        read_query(request, NoQuery)
        name = request.match_info["model"]
        if name not in await self._names():
            raise _unknown()
        return _json(_model_object(name))

    async def _names(self) -> list[str]:
        states, embedding = await asyncio.gather(self._states(), embedded(self._parts.caller, []))
        return [ASSISTANT, *(state.name for state in states), embedding.model]

    async def _change(self, request: web.Request, action: str) -> web.Response:
        read_query(request, NoQuery)
        asked = await read_json(request, ModelQuery, self._parts.settings)
        known = await self._states()
        # A role is a name of its own: which model it means is the registry's to say.
        if not any(asked.model == state.name or asked.model in state.roles for state in known):
            raise _unknown()
        states = await self._call({"action": action, "model": asked.model}, timeout_s=LOAD_TIMEOUT_S)
        changed = [state for state in states if asked.model == state.name or asked.model in state.roles]
        log.info("model_change_asked", action=action, model=asked.model)
        return _json(ModelsAnswer(models=changed).model_dump(mode="json"))

    async def _states(self) -> list[ModelState]:
        return await self._call({"action": "list"}, timeout_s=LIST_TIMEOUT_S)

    async def _call(self, request: Mapping[str, Any], *, timeout_s: float) -> list[ModelState]:
        try:
            found = await self._parts.caller.call("models", request, timeout_s=timeout_s)
            return _STATES.validate_python(found["models"])
        except CallFailed as error:
            log.warning("models_call_failed", action=request["action"], error=str(error))
            if request["action"] == "list":
                raise unavailable("No engine tells of its models for now.", code="no_engine") from error
            # Meant for people by the engine, and asked for by somebody who may change models.
            raise unavailable(str(error), code="model_unavailable") from error
        except (ValidationError, KeyError, TypeError) as error:
            raise Problem(502, "bad_answer", "The engine's answer cannot be read.") from error


def _model_object(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "hubbub"}


def _unknown() -> Problem:
    return Problem(404, "model_not_found", "There is no model of this name.")


def _json(document: Mapping[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")
