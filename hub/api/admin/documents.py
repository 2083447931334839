"""/api/v1/admin/collections: collections, who may read them, and their documents."""

import asyncio
from typing import Annotated

from aiohttp import web
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from hub.api.admin.paging import PageQuery, json_answer, not_found, note_change, page
from hub.api.admin.ports import AdminParts, DocumentShown, Upload
from hub.api.body import read_json, read_query
from hub.api.problems import Problem, of_status
from hub.api.schemas import Asked, NoQuery
from hub.http_body import BodyRefused, read_body
from hub.keys import ApiKey
from hub.settings import ApiSettings
from hub.text import normalise

MAX_NAME_CHARS = 200
MAX_AUDIENCE_CHARS = 300
UPLOADS_AT_ONCE = 4
"""Documents of a process in memory at once."""
UPLOAD_TIMEOUT_S = 120.0
"""Longest time for a document to arrive."""
BUNDLED = "bundled"
"""Collection of the project's own documents, as knowledge names it; every start brings them back."""


class AudienceRequest(Asked):
    """For whom a collection is."""

    audience: Annotated[str, Field(min_length=1, max_length=MAX_AUDIENCE_CHARS)]


class UploadQuery(Asked):
    """What a document is called."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        # It is shown in answers and taken for a path by nobody; what nobody can see would make two names look alike.
        if name != normalise(name).strip() or "\n" in name or "\t" in name:
            raise PydanticCustomError("no_name", "it holds characters that nobody can see")
        return name


class DocumentRoutes:
    """Collections and documents."""

    def __init__(self, parts: AdminParts, settings: ApiSettings) -> None:
        self._desk = parts.documents
        self._max_bytes = parts.max_document_bytes
        self._settings = settings
        self._room = asyncio.Semaphore(UPLOADS_AT_ONCE)

    async def list_collections(self, request: web.Request, key: ApiKey) -> web.Response:
        """Answer with a page of the collections, by name."""
        query = read_query(request, PageQuery)
        after = query.after
        found = [one for one in await self._desk.collections() if one.name > after]
        return page(found[: query.limit + 1], query.limit, lambda one: one.name)

    async def put_collection(self, request: web.Request, key: ApiKey) -> web.Response:
        """Make a collection, or change who may read it."""
        read_query(request, NoQuery)
        asked = await read_json(request, AudienceRequest, self._settings)
        name = request.match_info["collection"]
        is_new = await self._desk.set_audience(name, asked.audience)
        note_change(key, "collection_made" if is_new else "audience_changed", name)
        shown = await self._desk.collection(name)
        if shown is None:
            raise not_found("collection")
        return json_answer(shown.model_dump(mode="json"), 201 if is_new else 200)

    async def remove_collection(self, request: web.Request, key: ApiKey) -> web.Response:
        """Remove a collection with all its documents."""
        read_query(request, NoQuery)
        name = _own_collection(request)
        removed = await self._desk.remove_collection(name)
        if removed is None:
            raise not_found("collection")
        note_change(key, "collection_removed", name, documents=removed)
        return json_answer({"documents": removed})

    async def list_documents(self, request: web.Request, key: ApiKey) -> web.Response:
        """Answer with a page of a collection's documents, in the order in which they were added."""
        query = read_query(request, PageQuery)
        name, after = request.match_info["collection"], query.after_id
        if await self._desk.collection(name) is None:
            raise not_found("collection")
        found = await self._desk.documents(name, after=after, limit=query.limit + 1)
        return page(found, query.limit, _place)

    async def put_document(self, request: web.Request, key: ApiKey) -> web.Response:
        """Take a document in; one of the same name that was sent before is replaced by it."""
        query = read_query(request, UploadQuery)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity" or (
            request.content_type.startswith("multipart/")
        ):
            raise Problem(
                415, "media_type", "The body is the document's bytes as they are, not encoded.", close=True
            )
        async with self._room:
            data = await self._read(request)
            name = _own_collection(request)
            upload = Upload(collection=name, name=query.name, data=data, charset=request.charset or "")
            outcome, document = await self._desk.add(upload)
        if outcome != "unchanged":
            note_change(key, f"document_{outcome}", f"{name}/{document.id}", chunks=document.chunks)
        shown = {"outcome": outcome, "document": document.model_dump(mode="json")}
        return json_answer(shown, 201 if outcome == "added" else 200)

    async def remove_document(self, request: web.Request, key: ApiKey) -> web.Response:
        """Remove one document."""
        read_query(request, NoQuery)
        name, given = _own_collection(request), request.match_info["document"]
        is_id = given.isascii() and given.isdigit() and len(given) <= 18
        if not is_id or not await self._desk.remove_document(name, int(given)):
            raise not_found("document")
        note_change(key, "document_removed", f"{name}/{int(given)}")
        return web.Response(status=204)

    async def _read(self, request: web.Request) -> bytes:
        try:
            data = await read_body(request, max_bytes=self._max_bytes, timeout_s=UPLOAD_TIMEOUT_S)
        except BodyRefused as refused:
            problem = of_status(refused.status)
            problem.close = True
            raise problem from None
        if not data:
            raise Problem(422, "empty", "The document is empty.")
        return data


def _own_collection(request: web.Request) -> str:
    name = request.match_info["collection"]
    if name == BUNDLED:
        raise Problem(
            409,
            "bundled_collection",
            "These are the hub's own documents; knowledge.bundled_docs turns them off.",
        )
    return name


def _place(document: DocumentShown) -> str:
    return str(document.id)
