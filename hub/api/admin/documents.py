"""/api/v1/admin/collections: collections, who may read them, and their documents."""

import asyncio
from typing import Annotated

from aiohttp import web
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from hub.api.actors import Actor, note_change
from hub.api.admin.paging import CURSORS, Page, PageQuery, json_answer, not_found, page, page_of_all
from hub.api.admin.ports import AdminParts, CollectionShown, DocumentShown, Outcome, Upload
from hub.api.auth import operators
from hub.api.body import read_json, read_query
from hub.api.preconditions import wanted_version
from hub.api.problems import Problem, of_status
from hub.api.routes import PREFIX, About, Answer, Faults, Gives, Route, Takes
from hub.api.schemas import Asked, Given, NoQuery, YesNo, is_yes, such_as
from hub.http_body import BodyRefused, read_body
from hub.settings import ApiSettings
from hub.text import normalise

MAX_NAME_CHARS = 200
MAX_LOCATION_CHARS = 1_000
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Of collections, for the API's document."""
MAX_AUDIENCE_CHARS = 300
UPLOADS_AT_ONCE = 4
"""Documents of a process in memory at once."""
UPLOAD_TIMEOUT_S = 120.0
"""Longest time for a document to arrive."""
BUNDLED = "bundled"
"""Collection of the project's own documents, as knowledge names it; every start brings them back."""


BUNDLED_STAYS: Faults = {409: ("bundled_collection",)}


class AudienceRequest(Asked):
    """For whom a collection is."""

    model_config = such_as({"audience": "public"})

    audience: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_AUDIENCE_CHARS,
            json_schema_extra={"pattern": r"^(public|operator|(site|person):[!-~]{1,240})$"},
        ),
    ]
    """`public`, `operator`, `site:KEY`, `person:ID` or `person:CONNECTOR/ACCOUNT/PERSON`."""


class DocumentsQuery(PageQuery):
    """Which documents."""

    name: Annotated[str, Field(max_length=MAX_LOCATION_CHARS)] = ""
    """What their `location` begins with."""
    is_upload: YesNo | None = None


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


class Emptied(Given):
    """A collection that was removed."""

    documents: int
    """How many went with it."""


class Taken(Given):
    """A document that was sent."""

    outcome: Outcome
    """`unchanged`: the same bytes were there under this name."""
    document: DocumentShown


class DocumentRoutes:
    """Collections and documents."""

    def __init__(self, parts: AdminParts, settings: ApiSettings) -> None:
        self._desk = parts.documents
        self._max_bytes = parts.max_document_bytes
        self._settings = settings
        self._room = asyncio.Semaphore(UPLOADS_AT_ONCE)

    def routes(self) -> list[Route]:
        """Return the routes."""
        tag, plain = "documents", Takes(query=NoQuery)
        all_, one = f"{PREFIX}/admin/collections", f"{PREFIX}/admin/collections/{{collection}}"
        return [
            Route(
                "GET", all_, self.list_collections, operators("viewer"),
                About("list_collections", "Lists the collections by name.", tag),
                Takes(query=PageQuery),
                Gives(Answer(model=Page[CollectionShown], says="A page."), faults=CURSORS),
            ),
            Route(
                "PUT", one, self.put_collection, operators("operator"),
                About("put_collection", "Makes a collection, or changes who may read it.", tag),
                Takes(query=NoQuery, body=AudienceRequest, patterns={"collection": NAME_PATTERN}, can_match=True),
                Gives(
                    Answer(model=CollectionShown, says="Its audience is this one now."),
                    Answer(model=CollectionShown, status=201, says="It is new."),
                    faults={400: ("invalid_id",), 409: ("changed_meanwhile",)},
                ),
            ),
            Route(
                "DELETE", one, self.remove_collection, operators("operator"),
                About("remove_collection", "Removes a collection with all its documents.", tag),
                plain,
                Gives(Answer(model=Emptied, says="It is gone."), faults=BUNDLED_STAYS),
            ),
            Route(
                "GET", f"{one}/documents", self.list_documents, operators("viewer"),
                About("list_documents", "Lists a collection's documents in the order in which they were added.", tag),
                Takes(query=DocumentsQuery),
                Gives(Answer(model=Page[DocumentShown], says="A page."), faults=CURSORS),
            ),
            Route(
                "PUT", f"{one}/documents", self.put_document, operators("operator"),
                About("put_document", "Takes a document in; the same name again replaces what was sent before.", tag),
                Takes(query=UploadQuery, is_file=True, max_body_bytes=self._max_bytes, can_match=True),
                Gives(
                    Answer(model=Taken, says="It was known by this name."),
                    Answer(model=Taken, status=201, says="It is new."),
                    faults={
                        413: ("too_many_passages",),
                        415: ("unsupported",),
                        422: ("empty", "encrypted", "damaged"),
                        503: ("no_engine",),
                        **BUNDLED_STAYS,
                    },
                ),
            ),
            Route(
                "DELETE", f"{one}/documents/{{document}}", self.remove_document, operators("operator"),
                About("remove_document", "Removes one document.", tag),
                plain,
                Gives(Answer(status=204, media_type="", says="It is gone."), faults=BUNDLED_STAYS),
            ),
        ]  # fmt: skip

    async def list_collections(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with a page of the collections, by name."""
        query = read_query(request, PageQuery)
        return page_of_all(await self._desk.collections(), query, lambda one: one.name)

    async def put_collection(self, request: web.Request, who: Actor) -> web.Response:
        """Make a collection, or change who may read it."""
        read_query(request, NoQuery)
        asked = await read_json(request, AudienceRequest, self._settings)
        name = request.match_info["collection"]
        is_new = await self._desk.set_audience(name, asked.audience, wanted=wanted_version(request))
        note_change(who, "collection_made" if is_new else "audience_changed", name)
        shown = await self._desk.collection(name)
        if shown is None:
            raise not_found("collection")
        return json_answer(shown.model_dump(mode="json"), 201 if is_new else 200)

    async def remove_collection(self, request: web.Request, who: Actor) -> web.Response:
        """Remove a collection with all its documents."""
        read_query(request, NoQuery)
        name = _own_collection(request)
        removed = await self._desk.remove_collection(name)
        if removed is None:
            raise not_found("collection")
        note_change(who, "collection_removed", name, documents=removed)
        return json_answer({"documents": removed})

    async def list_documents(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with a page of a collection's documents, in the order in which they were added."""
        query = read_query(request, DocumentsQuery)
        name, after = request.match_info["collection"], query.after_id
        if await self._desk.collection(name) is None:
            raise not_found("collection")
        found = await self._desk.documents(
            name, after=after, limit=query.limit + 1, name=query.name, is_upload=is_yes(query.is_upload)
        )
        return page(found, query.limit, _place)

    async def put_document(self, request: web.Request, who: Actor) -> web.Response:
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
            upload = Upload(
                collection=name,
                name=query.name,
                data=data,
                charset=request.charset or "",
                wanted=wanted_version(request),
            )
            outcome, document = await self._desk.add(upload)
        if outcome != "unchanged":
            note_change(who, f"document_{outcome}", f"{name}/{document.id}", chunks=document.chunks)
        shown = {"outcome": outcome, "document": document.model_dump(mode="json")}
        return json_answer(shown, 201 if outcome == "added" else 200)

    async def remove_document(self, request: web.Request, who: Actor) -> web.Response:
        """Remove one document."""
        read_query(request, NoQuery)
        name, given = _own_collection(request), request.match_info["document"]
        is_id = given.isascii() and given.isdigit() and len(given) <= 18
        if not is_id or not await self._desk.remove_document(name, int(given)):
            raise not_found("document")
        note_change(who, "document_removed", f"{name}/{int(given)}")
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
