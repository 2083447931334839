"""Connections with a deadline for the head of a request, that tell when they are closed, and problem documents for
requests that are no HTTP.

aiohttp waits for a half-sent head for ever: its keep-alive timer begins after the first answer. Beside
`connectors.web.guard` this is the one place that knows of aiohttp's inner workings.
"""

import asyncio
import secrets
from typing import Any

from aiohttp import web

from hub.api.problems import SERVER, of_status

KEEPALIVE_S = 75.0
LINGER_S = 2.0
"""How long what is left of a refused body is read, so that the client sees the answer and not a reset."""
_TOO_SLOW = of_status(408)


def client_gone(request: web.BaseRequest) -> asyncio.Event:
    """Return what is set as soon as the client has closed its connection."""
    connection = request.protocol
    return connection.gone if isinstance(connection, _Connection) else asyncio.Event()


class DeadlineRunner(web.AppRunner):
    """Runs an application on connections that must send a whole head in time."""

    def __init__(self, app: web.Application, *, head_timeout_s: float, shutdown_timeout_s: float) -> None:
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGER_S,
            shutdown_timeout=shutdown_timeout_s,
        )
        self._head_timeout_s = head_timeout_s

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made, self._head_timeout_s)


class _Server(web.Server):
    def __init__(self, made: web.Server, head_timeout_s: float) -> None:
        super().__init__(made.request_handler, request_factory=made.request_factory, **made._kwargs)
        self._head_timeout_s = head_timeout_s

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._head_timeout_s, self._loop, self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ("_deadline", "_has_sent", "_head_timeout_s", "_is_answering", "gone")

    def __init__(
        self,
        server: web.Server,
        head_timeout_s: float,
        loop: asyncio.AbstractEventLoop,
        options: dict[str, Any],
    ) -> None:
        super().__init__(server, loop=loop, **options)
        self._head_timeout_s = head_timeout_s
        self._deadline: asyncio.TimerHandle | None = None
        self._has_sent = False
        self._is_answering = False
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_clock()
        self.gone.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._has_sent = True
        super().data_received(data)
        if self._messages:
            self._is_answering = True
            self._stop_clock()
        elif not self._is_answering and data:
            self._start_clock()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._is_answering = bool(self._messages)
            self._has_sent = False

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun") from exc
        response = of_status(status).response(secrets.token_hex(12))
        response.headers["Server"] = SERVER
        response.force_close()
        return response

    def _start_clock(self) -> None:
        if self._deadline is None:
            self._deadline = self._loop.call_later(self._head_timeout_s, self._give_up)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        # A connection opened in advance, as browsers do, is closed without a word.
        if self._has_sent and self.transport is not None:
            body = _TOO_SLOW.document(secrets.token_hex(12))
            head = (
                "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/problem+json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.force_close()
