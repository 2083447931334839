"""A program at the other end of the http channel: a real HTTP server, and a client that signs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from connectors.base import AttachmentReader
from connectors.http import signing
from connectors.http.connector import HttpConnector, make
from connectors.parts import ConnectorParts
from hub.messages import Attachment

SECRET = "a secret of two parties"
NAME = "http"


@dataclass
class Program:
    """Takes replies, and posts what people write."""

    port: int = 0
    received: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: list[web.Response] = field(default_factory=list)
    """What the next calls are answered; 200 when there is nothing."""
    _runner: web.AppRunner | None = None

    @property
    def callback_url(self) -> str:
        """Where it is called."""
        return f"http://127.0.0.1:{self.port}/replies"

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        app.add_routes([web.post("/replies", self._take)])
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Be out of reach."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        assert signing.is_signed(
            SECRET.encode(),
            body,
            timestamp=request.headers[signing.TIMESTAMP_HEADER],
            signature=request.headers[signing.SIGNATURE_HEADER],
        )
        answer = self.answers.pop(0) if self.answers else web.Response()
        if answer.status < 300:
            self.received.append(orjson.loads(body))
            self.headers.append(dict(request.headers))
        return answer


class NoReader:
    """The http channel takes no files."""

    async def read(self, name: str, media_type: str, data: bytes) -> Attachment:
        """Never be asked."""
        raise AssertionError


def make_connector(callback_url: str, **more: Any) -> HttpConnector:
    """Make the connector as the hub does."""
    reader: AttachmentReader = NoReader()
    nothing: Any = None
    parts = ConnectorParts(
        name=NAME, public_url="", store=nothing, live=nothing, quarantine=nothing, reader=reader
    )
    return make({"type": "http", "secret": SECRET, "callback_url": callback_url, **more}, parts)


@contextlib.asynccontextmanager
async def serving(connector: HttpConnector) -> AsyncIterator[str]:
    """Serve the connector's routes; gives the address where messages are posted."""
    app = web.Application()
    app.add_routes(connector.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}{connector.path}"
    finally:
        await runner.cleanup()


async def post(
    url: str, body: bytes, headers: dict[str, str] | None = None
) -> tuple[int, Any, dict[str, str]]:
    """Post a body, signed unless other headers are given; returns status, JSON and headers."""
    sent = signing.sign(SECRET.encode(), body) if headers is None else headers
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as client,
        client.post(url, data=body, headers=sent) as answer,
    ):
        text = await answer.read()
        return answer.status, orjson.loads(text) if text else None, dict(answer.headers)


def message(**more: object) -> bytes:
    """Write one message of a person."""
    return orjson.dumps({"id": "m1", "conversation": "c1", "person": "p1", "text": "Hello", **more})
