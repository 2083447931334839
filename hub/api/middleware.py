"""What happens around every request: id, errors, size, headers, log line and metrics."""

import re
import secrets
import time
from contextlib import AbstractContextManager, nullcontext

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from hub.api.addresses import client_address
from hub.api.body import max_body_bytes
from hub.api.openai.errors import error_response, speaks_openai
from hub.api.parts import CONTEXT, ApiParts, Context
from hub.api.problems import SERVER, Problem, of_status, unavailable
from hub.database import DatabaseError
from hub.errors import BusError, BusFull
from hub.traces.intake import taking_in

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)


def observing(parts: ApiParts) -> Middleware:
    """Give each request its id, and each answer its log line and its place in the metrics."""

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.monotonic()
        context = request[CONTEXT] = Context(request_id=_request_id(request))
        with _noted(request, parts):
            response = await handler(_seen_from_outside(request, parts))
        if not response.prepared and not request.content.at_eof():
            # What is left of a body nobody read must not be taken for the next request.
            response.force_close()
        duration_s = time.monotonic() - started
        route, method = _route(request), _method(request)
        parts.metrics.request_answered(method, route, response.status, duration_s)
        log.info(
            "request_answered",
            request=context.request_id,
            method=method,
            route=route,
            status=response.status,
            duration_ms=round(duration_s * 1000, 1),
            key=context.key_id,
        )
        return response

    return observe


def _noted(request: web.Request, parts: ApiParts) -> AbstractContextManager[None]:
    # A socket is no message's beginning: each that comes over it begins a trace of its own.
    is_traced = parts.bus.traces.is_on and request.method != hdrs.METH_GET
    return taking_in(request.headers) if is_traced else nullcontext()


def refusing(parts: ApiParts) -> Middleware:
    """Turn whatever goes wrong into a problem document, and refuse what is too large before reading it."""

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _check(request, parts)
            return await handler(request)
        except Exception as error:
            if isinstance(error, ConnectionError) or _has_begun(request):
                raise
            problem = _problem(error)
            if speaks_openai(request):
                return error_response(problem)
            return problem.response(request[CONTEXT].request_id)

    return refuse


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Complete an answer's headers just before they are sent; what a route has set stays."""
    context = request.get(CONTEXT)
    headers = response.headers
    if context is not None:
        headers["X-Request-ID"] = context.request_id
        for name, value in context.headers.items():
            headers.setdefault(name, value)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "no-referrer")
    if "html" not in response.content_type and "javascript" not in response.content_type:
        headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        headers.setdefault("Cache-Control", "no-store")
    headers["Server"] = SERVER


def _check(request: web.Request, parts: ApiParts) -> None:
    if (refusal := request.match_info.http_exception) is not None:
        raise refusal
    if (request.content_length or 0) > max_body_bytes(request, parts.settings):
        raise of_status(413)


def _problem(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case web.HTTPException():
            allowed = error.headers.get("Allow")
            return of_status(error.status, {"Allow": allowed} if allowed else None)
        case BusFull():
            return unavailable(
                "The hub is busy.", code="busy", retry_after_s=max(1, round(error.retry_after_s))
            )
        case BusError() | DatabaseError():
            log.warning("request_failed", error=str(error))
            return unavailable("A part of the hub is away for now.")
    log.error("request_broke", exc_info=error)
    return Problem(500, "internal_error", "Something went wrong in the hub.")


def _request_id(request: web.Request) -> str:
    given = request.headers.get("X-Request-ID", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(12)


def _seen_from_outside(request: web.Request, parts: ApiParts) -> web.Request:
    """Let routes see the client's address as `request.remote`, not a proxy's."""
    address = str(client_address(request, parts.settings.trusted_proxies) or "")
    return request if address == (request.remote or "") else request.clone(remote=address)


def _has_begun(request: web.Request) -> bool:
    return request.writer is not None and request.writer.output_size > 0


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


def _method(request: web.Request) -> str:
    # Methods are made up freely by clients; metrics are not.
    return request.method if request.method in hdrs.METH_ALL else "other"
