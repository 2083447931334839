"""POST /api/v1/models/provision and its jobs: new models, fetched in the background."""

from typing import Annotated

import orjson
from aiohttp import web
from pydantic import Field

from hub.api.actors import Actor, note_change
from hub.api.auth import scoped
from hub.api.body import read_json, read_query
from hub.api.parts import ApiParts
from hub.api.problems import Problem
from hub.api.routes import PREFIX, About, Answer, Gives, Route, Takes
from hub.api.schemas import Asked, NoQuery, such_as
from hub.errors import ProvisionError
from hub.keys import MODELS_SCOPE
from hub.provision.jobs import Job, ProvisionJobs
from hub.provision.names import MODEL, REPO

MAX_NAME_CHARS = 500


class ProvisionRequest(Asked):
    """Which model to fetch."""

    model_config = such_as({"repo": "owner/name", "file": "Q4_K_M", "name": "qwen"})

    repo: Annotated[
        str,
        Field(min_length=1, max_length=MAX_NAME_CHARS, json_schema_extra={"pattern": f"^{REPO.pattern}$"}),
    ]
    """Repository, `owner/name`."""
    file: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""
    """A file, a folder or a quantisation; empty chooses."""
    name: Annotated[
        str, Field(max_length=MAX_NAME_CHARS, json_schema_extra={"pattern": f"^({MODEL.pattern})?$"})
    ] = ""
    """In the registry; empty chooses."""


class JobAnswer(Job):
    """How far the fetching of a model is."""

    job: str
    """The same as `id`."""


FETCH = Takes(query=NoQuery, body=ProvisionRequest)
BEGUN = Gives(
    Answer(model=JobAnswer, status=202, says="It is fetched in the background."),
    faults={422: ("invalid_model",)},
)
TOLD = Gives(Answer(model=JobAnswer, says="How far it is."))


class ProvisionRoutes:
    """Fetching models."""

    def __init__(self, parts: ApiParts, jobs: ProvisionJobs) -> None:
        self._parts = parts
        self._jobs = jobs

    def routes(self) -> list[Route]:
        """Return the routes."""
        path, access = f"{PREFIX}/models/provision", scoped(MODELS_SCOPE)
        start = About("provision_model", "Begins to fetch a model.", "models")
        show = About("provision_job", "Tells how far the fetching of a model is.", "models")
        return [
            Route("POST", path, self.start, access, start, FETCH, BEGUN),
            Route("GET", f"{path}/{{job}}", self.show, access, show, Takes(query=NoQuery), TOLD),
        ]

    async def start(self, request: web.Request, who: Actor) -> web.Response:
        """Begin to fetch a model, and answer with the job."""
        read_query(request, NoQuery)
        asked = await read_json(request, ProvisionRequest, self._parts.settings)
        try:
            job = await self._jobs.start(asked.repo, asked.file, asked.name)
        except ProvisionError as error:
            raise Problem(422, "invalid_model", str(error)) from None
        note_change(who, "model_fetch_begun", job)
        return await self._told(job, status=202)

    async def show(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with how far a job is."""
        read_query(request, NoQuery)
        return await self._told(request.match_info["job"], status=200)

    async def _told(self, job: str, *, status: int) -> web.Response:
        found = await self._jobs.status(job)
        if found is None:
            raise Problem(404, "not_found", "There is no such job.")
        return web.Response(
            status=status, body=orjson.dumps({"job": job, **found}), content_type="application/json"
        )
