"""POST /api/v1/models/provision and its jobs: new models, fetched in the background."""

from typing import Annotated

import orjson
from aiohttp import web
from pydantic import Field

from hub.api.body import read_json, read_query
from hub.api.parts import ApiParts
from hub.api.problems import Problem
from hub.api.schemas import Asked, NoQuery
from hub.errors import ProvisionError
from hub.keys import ApiKey
from hub.provision.jobs import ProvisionJobs

MAX_NAME_CHARS = 500


class ProvisionRequest(Asked):
    """Which model to fetch."""

    repo: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
    """Repository, `owner/name`."""
    file: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""
    """A file, a folder or a quantisation; empty chooses."""
    name: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""
    """In the registry; empty chooses."""


class ProvisionRoutes:
    """Fetching models."""

    def __init__(self, parts: ApiParts, jobs: ProvisionJobs) -> None:
        self._parts = parts
        self._jobs = jobs

    async def start(self, request: web.Request, key: ApiKey) -> web.Response:
        """Begin to fetch a model, and answer with the job."""
        read_query(request, NoQuery)
        asked = await read_json(request, ProvisionRequest, self._parts.settings)
        try:
            job = await self._jobs.start(asked.repo, asked.file, asked.name)
        except ProvisionError as error:
            raise Problem(422, "invalid_model", str(error)) from None
        return await self._told(job, status=202)

    async def show(self, request: web.Request, key: ApiKey) -> web.Response:
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
