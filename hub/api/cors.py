"""Pages of other origins: those in the settings may use the API, no other one, and never the operators' routes."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from hub.api.problems import of_status
from hub.api.routes import OPEN, ROUTE, About, Answer, Gives, Route, Takes

REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, X-API-Key, X-Request-ID"
ANSWER_HEADERS = "RateLimit, RateLimit-Policy, Retry-After, X-Request-ID"
KEPT_S = 600
"""How long a browser need not ask again."""


def preflights(routes: Sequence[Route], origins: Sequence[str]) -> list[Route]:
    """Return what answers a browser that asks whether a page may use a path; nothing where no page may."""
    methods = defaultdict(list)
    for route in routes if origins else ():
        if _is_shared(route):
            methods[route.path].append(route.method)
    return [_preflight(path, found, origins) for path, found in methods.items()]


def sharing(origins: Sequence[str]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Return what lets pages of these origins read answers."""

    async def share(request: web.Request, response: web.StreamResponse) -> None:
        if (route := request.get(ROUTE)) is None or not _is_shared(route):
            return
        response.headers.add("Vary", "Origin")
        if (origin := request.headers.get("Origin")) in origins:
            response.headers["Access-Control-Allow-Origin"] = str(origin)
            response.headers["Access-Control-Expose-Headers"] = ANSWER_HEADERS

    return share


def _is_shared(route: Route) -> bool:
    # Files of the hub's own page are of no use to another one.
    return not route.access.is_probe and route.access.role is None and bool(route.about.tag)


def _preflight(path: str, methods: Sequence[str], origins: Sequence[str]) -> Route:
    allowed = ", ".join(methods)

    async def answer(request: web.Request) -> web.Response:
        origin = request.headers.get("Origin")
        if origin not in origins or request.headers.get("Access-Control-Request-Method") not in methods:
            raise of_status(405, {"Allow": allowed})
        headers = {
            "Access-Control-Allow-Origin": str(origin),
            "Access-Control-Allow-Methods": allowed,
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": str(KEPT_S),
            "Vary": "Origin",
        }
        return web.Response(status=204, headers=headers)

    about = About(f"preflight {path}", "Tells a browser whether a page may use the path.", "")
    gives = Gives(Answer(status=204, media_type="", says="It may."), faults={405: ("method_not_allowed",)})
    return Route("OPTIONS", path, answer, OPEN, about, Takes(), gives)
