"""Answers of the web channel's own routes; only a page that is welcome can read them."""

from typing import Any

from aiohttp import web

HEADERS = "Content-Type, X-Visitor, X-File-Name"
"""What a page may send along."""
BODY_CODES = {400: "cut_off", 408: "too_slow", 413: "too_large"}
"""What a page is told of a body that was not read to its end."""


def refuse(status: int, code: str, origin: str = "", **headers: str) -> web.Response:
    """Answer with a code; `origin` is that of a page which may read it."""
    return answer(status, {"error": {"code": code}}, origin, **headers)


def answer(status: int, body: dict[str, Any], origin: str = "", **headers: str) -> web.Response:
    """Answer with JSON that nobody keeps."""
    return web.json_response(
        body, status=status, headers={**headers, **_readable(origin), "Cache-Control": "no-store"}
    )


def preflight(origin: str) -> web.Response:
    """Tell a browser what pages of this origin may send. Source: Fetch standard, CORS-preflight fetch."""
    headers = {
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": HEADERS,
        "Access-Control-Max-Age": "600",
    }
    return web.Response(status=204, headers=headers | _readable(origin))


def _readable(origin: str) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if origin else {"Vary": "Origin"}
