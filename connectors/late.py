"""A connector whose libraries take seconds to load stands here meanwhile, so that nothing else waits for them."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from connectors.base import Connector, Progress, Publish
from hub.messages import OutboundMessage

log = structlog.get_logger(__name__)

RETRY_S = 5


class LateConnector:
    """Becomes the connector that `make` returns once `load` is done.

    Args:
        make: imports what it needs and makes the connector; runs in a thread.
        posts: paths the connector will serve by POST; they answer 503 until it does.
    """

    def __init__(self, name: str, make: Callable[[], Connector], *, posts: Sequence[str] = ()) -> None:
        self.name = name
        self._make = make
        self._posts = posts
        self._connector: Connector | None = None
        self._handlers: dict[str, Handler] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the connector to come."""
        return [web.post(path, self._serve) for path in self._posts]

    async def load(self) -> None:
        """Make the connector; needed before `run` and `send`.

        Raises: SettingsError: it cannot be made with these settings.
        """
        began = time.monotonic()
        connector = await asyncio.to_thread(self._make)
        routes: list[web.RouteDef] = getattr(connector, "routes", list)()
        self._handlers = {route.path: route.handler for route in routes}
        self._connector = connector
        log.info("connector_loaded", connector=self.name, seconds=round(time.monotonic() - began, 1))

    async def run(self, publish: Publish) -> None:
        """Take messages in until cancelled."""
        await self._loaded().run(publish)

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Deliver one reply."""
        await self._loaded().send(message, progress)

    def _loaded(self) -> Connector:
        assert self._connector is not None, "load comes first"
        return self._connector

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        handler = self._handlers.get(request.path)
        if handler is None:
            return web.Response(status=503, headers={"Retry-After": str(RETRY_S)})
        return await handler(request)
