"""The HTTP server: routes, what stands around them, and how it listens."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from hub.api.admin.routes import admin_routes
from hub.api.auth import keyed, scoped
from hub.api.chat import ChatRoutes
from hub.api.deadline import DeadlineRunner
from hub.api.health import HealthRoutes
from hub.api.key_routes import KeyRoutes
from hub.api.middleware import add_headers, observing, refusing
from hub.api.models import ModelRoutes
from hub.api.openai.embeddings import EmbeddingRoutes
from hub.api.openai.routes import CompletionRoutes
from hub.api.parts import ApiParts
from hub.api.provision import ProvisionRoutes
from hub.api.review import ReviewRoutes
from hub.api.search import SearchRoutes
from hub.api.socket import SocketRoutes
from hub.keys import MODELS_SCOPE
from hub.settings import ApiSettings

__all__ = ["ApiParts", "listening", "make_app"]

_PREFIXES = ("", "/api/v1")


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
    app.add_routes([*_state_routes(parts), *(_api_routes(parts) if with_api else []), *extra])

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


def _state_routes(parts: ApiParts) -> list[web.RouteDef]:
    health = HealthRoutes(parts)
    routes = []
    for prefix in _PREFIXES:
        routes += [
            web.get(f"{prefix}/health", health.health, allow_head=False),
            web.get(f"{prefix}/metrics", health.metrics, allow_head=False),
            web.get(f"{prefix}/metrics/cache_accounting", health.cache_accounting, allow_head=False),
        ]
    return routes


def _api_routes(parts: ApiParts) -> list[web.RouteDef]:
    chat, search, keys = ChatRoutes(parts), SearchRoutes(parts), KeyRoutes(parts)
    routes = [*_model_routes(parts), *_provision_routes(parts), *_openai_routes(parts), *admin_routes(parts)]
    for prefix in _PREFIXES:
        routes += [
            web.post(f"{prefix}/chat", keyed(parts, chat.chat)),
            web.post(f"{prefix}/generate", keyed(parts, chat.generate)),
            web.get(f"{prefix}/search", keyed(parts, search.search), allow_head=False),
            web.post(f"{prefix}/generate-key", keys.generate),
        ]
    return [
        *routes,
        web.post("/api/v1/review/rag-context", keyed(parts, ReviewRoutes(parts).context)),
        web.get("/api/v1/history", keyed(parts, chat.history), allow_head=False),
        web.get("/ws/generate", SocketRoutes(parts).serve, allow_head=False),
    ]


def _model_routes(parts: ApiParts) -> list[web.RouteDef]:
    models = ModelRoutes(parts)
    return [
        web.get("/api/v1/models", keyed(parts, models.show_all), allow_head=False),
        web.post("/api/v1/models/load", scoped(parts, MODELS_SCOPE, models.load)),
        web.post("/api/v1/models/unload", scoped(parts, MODELS_SCOPE, models.unload)),
    ]


def _provision_routes(parts: ApiParts) -> list[web.RouteDef]:
    if parts.jobs is None:
        return []
    provision = ProvisionRoutes(parts, parts.jobs)
    path = "/api/v1/models/provision"
    return [
        web.post(path, scoped(parts, MODELS_SCOPE, provision.start)),
        web.get(f"{path}/{{job}}", scoped(parts, MODELS_SCOPE, provision.show), allow_head=False),
    ]


def _openai_routes(parts: ApiParts) -> list[web.RouteDef]:
    completions, models = CompletionRoutes(parts), ModelRoutes(parts)
    return [
        web.post("/v1/chat/completions", keyed(parts, completions.chat)),
        web.post("/v1/completions", keyed(parts, completions.text)),
        web.post("/v1/embeddings", keyed(parts, EmbeddingRoutes(parts).embed)),
        web.get("/v1/models", keyed(parts, models.list_openai), allow_head=False),
        # A name may hold slashes.
        web.get("/v1/models/{model:.+}", keyed(parts, models.show_openai), allow_head=False),
    ]
