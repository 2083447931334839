"""The registry of models over HTTP: what there is and does, loading and unloading."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from hub.api.actors import Actor
from hub.api.auth import scoped
from hub.api.body import read_json, read_query
from hub.api.openai.embeddings import embedded
from hub.api.openai.schemas import ModelList, ModelObject
from hub.api.parts import ApiParts
from hub.api.registry import Action, Registry, unknown_model
from hub.api.requests import ASSISTANT, MAX_MODEL_CHARS
from hub.api.routes import KEY, PREFIX, About, Answer, Faults, Gives, Route, Takes
from hub.api.schemas import Asked, Given, NoQuery, such_as
from hub.keys import MODELS_SCOPE, ApiKey
from hub.model_states import ModelState

NO_ANSWER: Faults = {502: ("bad_answer",), 503: ("no_engine",)}
"""Of an engine, about its models."""


class ModelQuery(Asked):
    """Which model."""

    model_config = such_as({"model": "general"})

    model: Annotated[str, Field(min_length=1, max_length=MAX_MODEL_CHARS)]


class ModelsAnswer(Given):
    """Models of the registry."""

    models: list[ModelState]


CHANGE = Takes(query=NoQuery, body=ModelQuery)
CHANGED = Gives(
    Answer(model=ModelsAnswer, says="The model as it is now."),
    faults={404: ("model_not_found",), 502: ("bad_answer",), 503: ("no_engine", "model_unavailable")},
)
"""Of loading and unloading."""


class ModelRoutes:
    """Models, in the hub's own form and in that of OpenAI's API."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts
        self._registry = Registry(parts.caller)

    def routes(self) -> list[Route]:
        """Return the routes."""
        path, access = f"{PREFIX}/models", scoped(MODELS_SCOPE)
        show = About("list_models", "Lists all models with what they do.", "models")
        load = About("load_model", "Loads a model.", "models")
        unload = About("unload_model", "Unloads a model once nobody uses it.", "models")
        told = Gives(Answer(model=ModelsAnswer, says="The models."), faults=NO_ANSWER)
        return [
            Route("GET", path, self.show_all, KEY, show, Takes(query=NoQuery), told),
            Route("POST", f"{path}/load", self.load, access, load, CHANGE, CHANGED),
            Route("POST", f"{path}/unload", self.unload, access, unload, CHANGE, CHANGED),
            *self._openai_routes(),
        ]

    def _openai_routes(self) -> list[Route]:
        names = About("openai_models", "Lists the names that a request may give as its model.", "openai")
        name = About("openai_model", "Shows one of these names.", "openai")
        takes = Takes(query=NoQuery)
        listed = Gives(Answer(model=ModelList, says="The names."), faults=NO_ANSWER)
        shown = Gives(
            Answer(model=ModelObject, says="It is one."), faults={404: ("model_not_found",), **NO_ANSWER}
        )
        return [
            Route("GET", "/v1/models", self.list_openai, KEY, names, takes, listed),
            # A name may hold slashes.
            Route("GET", "/v1/models/{model:.+}", self.show_openai, KEY, name, takes, shown),
        ]

    async def show_all(self, request: web.Request, key: ApiKey) -> web.Response:
        """Answer with all models and what they do."""
        read_query(request, NoQuery)
        states = await self._registry.states()
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
            raise unknown_model()
        return _json(_model_object(name))

    async def _names(self) -> list[str]:
        states, embedding = await asyncio.gather(self._registry.states(), embedded(self._parts.caller, []))
        return [ASSISTANT, *(state.name for state in states), embedding.model]

    async def _change(self, request: web.Request, who: Actor, action: Action) -> web.Response:
        read_query(request, NoQuery)
        asked = await read_json(request, ModelQuery, self._parts.settings)
        changed = await self._registry.change(who, action, asked.model)
        return _json(ModelsAnswer(models=changed).model_dump(mode="json"))


def _model_object(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "hubbub"}


def _json(document: Mapping[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")
