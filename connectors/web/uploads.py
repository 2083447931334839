"""`POST /widget/files`: a page sends a file, which is read at once and waits for its message as text."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

import structlog
from aiohttp import web

from connectors.base import AttachmentReader
from connectors.web.pace import address_name
from connectors.web.replies import BODY_CODES, answer, refuse
from connectors.web.services import Services
from connectors.web.visitors import Visitor
from hub.api.body import takes_bodies_of
from hub.errors import BusError
from hub.http_body import BodyRefused, read_body
from hub.text import normalise

log = structlog.get_logger(__name__)

MAX_FILE_BYTES = 10 * 1024 * 1024
READ_TIMEOUT_S = 60.0
"""Longest time for a file to arrive, and then for its text to be found."""
FILES_AT_ONCE, FILES_AT_ONCE_PER_ADDRESS = 16, 5
"""Files of a process in memory at once: no address takes all the places by sending slowly."""
MAX_NAME_CHARS = 200
WINDOW_S = 600
FILES_PER_VISITOR, FILES_PER_ADDRESS = 20, 100
"""Files in WINDOW_S. A new visitor costs nothing to make up, so the address counts as well."""

_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,100}/[a-z0-9!#$&^_.+-]{1,100}", re.ASCII)


class Uploads:
    """Takes files."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._room = asyncio.Semaphore(FILES_AT_ONCE)
        self._at_work: Counter[str] = Counter()

    @takes_bodies_of(MAX_FILE_BYTES)
    async def serve(self, request: web.Request) -> web.Response:
        """Answer with the id that names the file in a message, or with why it cannot be read."""
        origin = request.headers.get("Origin", "")
        if not self._services.sites.admits(origin, request.host):
            return refuse(403, "origin_not_allowed")
        reader = self._services.reader
        if reader is None:
            return refuse(404, "no_files_here", origin)
        if (request.content_length or 0) > MAX_FILE_BYTES:
            return refuse(413, "too_large", origin)
        try:
            visitor = await self._visitor(request, origin)
            if visitor is None:
                return refuse(401, "not_signed_in", origin)
            address = address_name(request)
            with self._place(address) as at_once:
                if at_once > FILES_AT_ONCE_PER_ADDRESS or await self._is_too_much(visitor, address):
                    return refuse(429, "too_many_files", origin, **{"Retry-After": str(WINDOW_S)})
                async with asyncio.timeout(READ_TIMEOUT_S), self._room:
                    return await self._take(request, origin, visitor, reader)
        except TimeoutError:
            return refuse(408, "too_slow", origin)
        except BodyRefused as refused:
            return refuse(refused.status, BODY_CODES[refused.status], origin)
        except BusError:
            return refuse(503, "unavailable", origin, **{"Retry-After": "2"})

    async def _visitor(self, request: web.Request, origin: str) -> Visitor | None:
        """Return who sends it: by a ticket, or on a page without a site key by the visitor's token."""
        credential = request.headers.get("X-Visitor", "")
        if credential.startswith("t1."):
            return await self._services.tickets.redeem(credential, origin)
        site = self._services.sites.of_page(origin, request.host)
        return self._services.tokens.read(credential, site.name) if site else None

    @contextmanager
    def _place(self, address: str) -> Iterator[int]:
        """Count a file of this address while it is being taken; gives how many there are with it."""
        self._at_work[address] += 1
        try:
            yield self._at_work[address]
        finally:
            self._at_work[address] -= 1
            if not self._at_work[address]:
                del self._at_work[address]

    async def _is_too_much(self, visitor: Visitor, address: str) -> bool:
        store = self._services.store
        counts = (
            await store.increment(f"files:{visitor.site}:{visitor.id}", WINDOW_S),
            await store.increment(f"files-from:{address}", WINDOW_S),
        )
        return counts[0] > FILES_PER_VISITOR or counts[1] > FILES_PER_ADDRESS

    async def _take(
        self, request: web.Request, origin: str, visitor: Visitor, reader: AttachmentReader
    ) -> web.Response:
        data = await read_body(request, max_bytes=MAX_FILE_BYTES, timeout_s=READ_TIMEOUT_S)
        if not data:
            return refuse(422, "empty", origin)
        attachment = await reader.read(_name(request), _media_type(request), data)
        log.info("file_read", media_type=attachment.media_type, bytes=len(data), problem=attachment.problem)
        if attachment.problem:
            return refuse(422, attachment.problem, origin)
        file_id = await self._services.files.keep(visitor, attachment)
        return answer(201, {"id": file_id, "name": attachment.name, "size_bytes": len(data)}, origin)


def _name(request: web.Request) -> str:
    name = normalise(unquote(request.headers.get("X-File-Name", "")))
    return re.sub(r"[\s/\\]+", " ", name).strip()[-MAX_NAME_CHARS:] or "file"


def _media_type(request: web.Request) -> str:
    given = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return given if _MEDIA_TYPE.fullmatch(given) else "application/octet-stream"
