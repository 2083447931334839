"""The HTTP server: routes, what stands around them, and how it listens."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from hub.api.admin.routes import admin_routes
from hub.api.auth import guarded
from hub.api.chat import ChatRoutes
from hub.api.cors import preflights, sharing
from hub.api.deadline import DeadlineRunner
from hub.api.docs import DocsRoutes
from hub.api.health import HealthRoutes
from hub.api.key_routes import KeyRoutes
from hub.api.middleware import add_headers, observing, refusing
from hub.api.models import ModelRoutes
from hub.api.openai.embeddings import EmbeddingRoutes
from hub.api.openai.routes import CompletionRoutes
from hub.api.parts import ApiParts
from hub.api.provision import ProvisionRoutes
from hub.api.review import ReviewRoutes
from hub.api.routes import ROUTES, Route
from hub.api.search import SearchRoutes
from hub.api.socket import SocketRoutes
from hub.settings import ApiSettings

__all__ = ["ApiParts", "declared_routes", "listening", "make_app"]


def make_app(
    parts: ApiParts, extra: Sequence[web.AbstractRouteDef] = (), *, with_api: bool = True
) -> web.Application:
    """Put the server together; health and metrics are always part of it.

    Args:
        parts: what the routes use.
        extra: routes of connectors: widget, sockets, webhooks. They get ids, log lines, metrics, error documents
            and the size limit like all others; who may call them is theirs to check.
        with_api: whether it answers the API's own questions: chat, search, keys.
    """
    app = web.Application(
        middlewares=[observing(parts), refusing(parts)], client_max_size=parts.settings.max_body_bytes
    )
    app.on_response_prepare.append(add_headers)
    origins = parts.settings.cors_origins
    declared = declared_routes(parts, with_api=with_api)
    app[ROUTES] = routes = (*declared, *preflights(declared, origins))
    if origins:
        app.on_response_prepare.append(sharing(origins))
    app.add_routes([*(_served(parts, route) for route in routes), *extra])

    async def stop_waiting(_: web.Application) -> None:
        parts.stopping.set()

    app.on_shutdown.append(stop_waiting)
    return app


@asynccontextmanager
async def listening(
    app: web.Application, settings: ApiSettings, *, drain_timeout_s: float = 20.0
) -> AsyncIterator[int]:
    """Serve while the block lasts.

    Returns: the port, which the system chose when the setting is 0.
    """
    runner = DeadlineRunner(app, head_timeout_s=settings.read_timeout_s, shutdown_timeout_s=drain_timeout_s)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, backlog=1024).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def declared_routes(parts: ApiParts, *, with_api: bool = True) -> list[Route]:
    """Return every route of the server itself; there is no other.

    Args:
        with_api: as `make_app`.
    """
    routes = HealthRoutes(parts).routes()
    if not with_api:
        return routes
    if parts.settings.docs:
        routes += DocsRoutes().routes()
    if parts.jobs is not None:
        routes += ProvisionRoutes(parts, parts.jobs).routes()
    return [
        *routes,
        *ChatRoutes(parts).routes(),
        *SearchRoutes(parts).routes(),
        *ReviewRoutes(parts).routes(),
        *KeyRoutes(parts).routes(),
        *ModelRoutes(parts).routes(),
        *CompletionRoutes(parts).routes(),
        *EmbeddingRoutes(parts).routes(),
        *SocketRoutes(parts).routes(),
        *admin_routes(parts),
    ]


def _served(parts: ApiParts, route: Route) -> web.RouteDef:
    # HEAD is refused everywhere alike.
    options = {"allow_head": False} if route.method == "GET" else {}
    return web.route(route.method, route.path, guarded(parts, route), **options)
