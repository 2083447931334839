"""The registry of models over HTTP: what there is and does, loading and unloading."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
import structlog
from aiohttp import web
from pydantic import Field, TypeAdapter, ValidationError

from hub.api.actors import Actor, note_change
from hub.api.auth import scoped
from hub.api.body import read_json, read_query
from hub.api.openai.embeddings import embedded
from hub.api.openai.schemas import ModelList, ModelObject
from hub.api.parts import ApiParts
from hub.api.problems import Problem, unavailable
from hub.api.requests import ASSISTANT, MAX_MODEL_CHARS
from hub.api.routes import KEY, PREFIX, About, Answer, Faults, Gives, Route, Takes
from hub.api.schemas import Asked, Given, NoQuery, such_as
from hub.bus.calls import CallFailed
from hub.keys import MODELS_SCOPE, ApiKey
from hub.model_states import ModelState

log = structlog.get_logger(__name__)

LIST_TIMEOUT_S = 10.0
LOAD_TIMEOUT_S = 600.0

_STATES = TypeAdapter(list[ModelState])


class ModelQuery(Asked):
    """Which model."""

    model_config = such_as({"model": "general"})

    model: Annotated[str, Field(min_length=1, max_length=MAX_MODEL_CHARS)]


class ModelsAnswer(Given):
    """Models of the registry."""

    models: list[ModelState]


class ModelRoutes:
    """Models, in the hub's own form and in that of OpenAI's API."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Return the routes."""
        path, access = f"{PREFIX}/models", scoped(MODELS_SCOPE)
        show = About("list_models", "Lists all models with what they do.", "models")
        load = About("load_model", "Loads a model.", "models")
        unload = About("unload_model", "Unloads a model once nobody uses it.", "models")
        faults: Faults = {502: ("bad_answer",), 503: ("no_engine",)}
        told = Gives(Answer(model=ModelsAnswer, says="The models."), faults=faults)
        changed = Gives(
            Answer(model=ModelsAnswer, says="The model as it is now."),
            faults={404: ("model_not_found",), 502: ("bad_answer",), 503: ("no_engine", "model_unavailable")},
        )
        takes = Takes(query=NoQuery, body=ModelQuery)
        return [
            Route("GET", path, self.show_all, KEY, show, Takes(query=NoQuery), told),
            Route("POST", f"{path}/load", self.load, access, load, takes, changed),
            Route("POST", f"{path}/unload", self.unload, access, unload, takes, changed),
            *self._openai_routes(faults),
        ]

    def _openai_routes(self, faults: Faults) -> list[Route]:
        names = About("openai_models", "Lists the names that a request may give as its model.", "openai")
        name = About("openai_model", "Shows one of these names.", "openai")
        takes = Takes(query=NoQuery)
        listed = Gives(Answer(model=ModelList, says="The names."), faults=faults)
        shown = Gives(
            Answer(model=ModelObject, says="It is one."), faults={404: ("model_not_found",), **faults}
        )
        return [
            Route("GET", "/v1/models", self.list_openai, KEY, names, takes, listed),
            # A name may hold slashes.
            Route("GET", "/v1/models/{model:.+}", self.show_openai, KEY, name, takes, shown),
        ]

    async def show_all(self, request: web.Request, key: ApiKey) -> web.Response:
        """Answer with all models and what they do."""
        read_query(request, NoQuery)
        states = await self._states()
        if MODELS_SCOPE not in key.scopes:
            # Why a model failed may name files and servers.
            states = [state.model_copy(update={"error": "", "path": ""}) for state in states]
        return _json(ModelsAnswer(models=states).model_dump(mode="json"))

    async def load(self, request: web.Request, who: Actor) -> web.Response:
        """Load a model and answer with its state."""
        return await self._change(request, who, "load")

    async def unload(self, request: web.Request, who: Actor) -> web.Response:
        """Unload a model once nobody uses it, and answer with its state."""
        return await self._change(request, who, "unload")

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

    async def _change(self, request: web.Request, who: Actor, action: str) -> web.Response:
        read_query(request, NoQuery)
        asked = await read_json(request, ModelQuery, self._parts.settings)
        known = await self._states()
        # A role is a name of its own: which model it means is the registry's to say.
        if not any(asked.model == state.name or asked.model in state.roles for state in known):
            raise _unknown()
        states = await self._call({"action": action, "model": asked.model}, timeout_s=LOAD_TIMEOUT_S)
        changed = [state for state in states if asked.model == state.name or asked.model in state.roles]
        for state in changed:
            note_change(who, f"model_{action}ed", state.name)
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
