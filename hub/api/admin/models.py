"""/api/v1/admin/models: the models of the registry as operators see, load and fetch them."""

from typing import Literal

from aiohttp import web

from hub.api.actors import Actor
from hub.api.admin.paging import CURSORS, Page, PageQuery, page_of_all
from hub.api.auth import operators
from hub.api.body import read_query
from hub.api.models import CHANGE, CHANGED, NO_ANSWER, ModelRoutes
from hub.api.parts import ApiParts
from hub.api.provision import BEGUN, FETCH, TOLD, ProvisionRoutes
from hub.api.registry import Registry
from hub.api.routes import PREFIX, About, Answer, Gives, Route, Takes
from hub.api.schemas import NoQuery
from hub.model_states import ModelState

PATH = f"{PREFIX}/admin/models"


class AdminModelsQuery(PageQuery):
    """Which models."""

    state: Literal["unloaded", "loading", "loaded", "failed"] | None = None
    type: Literal["gguf", "safetensors", "onnx", "remote"] | None = None
    """What its files are; `remote`: it runs elsewhere."""


class AdminModelRoutes:
    """Models, changed in the same way as by a key with their scope."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts
        self._registry = Registry(parts.caller)

    def routes(self) -> list[Route]:
        """Return the routes."""
        tag, changes = "models", ModelRoutes(self._parts)
        return [
            Route(
                "GET", PATH, self.list_models, operators("viewer"),
                About("admin_list_models", "Lists the models by name, with state, memory and use.", tag),
                Takes(query=AdminModelsQuery),
                Gives(Answer(model=Page[ModelState], says="A page."), faults={**CURSORS, **NO_ANSWER}),
            ),
            Route(
                "POST", f"{PATH}/load", changes.load, operators("operator"),
                About("admin_load_model", "Loads a model.", tag),
                CHANGE, CHANGED,
            ),
            Route(
                "POST", f"{PATH}/unload", changes.unload, operators("operator"),
                About("admin_unload_model", "Unloads a model once nobody uses it.", tag),
                CHANGE, CHANGED,
            ),
            *self._fetching(tag),
        ]  # fmt: skip

    def _fetching(self, tag: str) -> list[Route]:
        if self._parts.jobs is None:
            return []
        fetches = ProvisionRoutes(self._parts, self._parts.jobs)
        return [
            Route(
                "POST", f"{PATH}/provision", fetches.start, operators("admin"),
                About("admin_provision_model", "Begins to fetch a model.", tag),
                FETCH, BEGUN,
            ),
            Route(
                "GET", f"{PATH}/provision/{{job}}", fetches.show, operators("viewer"),
                About("admin_provision_job", "Tells how far the fetching of a model is.", tag),
                Takes(query=NoQuery), TOLD,
            ),
        ]  # fmt: skip

    async def list_models(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with a page of the models, by name."""
        query = read_query(request, AdminModelsQuery)
        states = [
            state
            for state in await self._registry.states()
            if query.state in (None, state.state) and query.type in (None, state.type)
        ]
        return page_of_all(states, query, lambda state: state.name)
