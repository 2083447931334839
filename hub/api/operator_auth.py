"""Whose request of the operators' routes it is: a token or cookie of somebody who has signed in."""

import hmac

from aiohttp import web

from hub.api.origins import is_own_page
from hub.api.parts import CONTEXT, ApiParts
from hub.api.problems import Problem, too_many
from hub.errors import BusError
from hub.limits import Limit
from hub.operators.sessions import Seen, Session
from hub.operators.tokens import looks_like_one

# The prefix makes browsers refuse them over HTTP and from other hosts of a domain's.
# Source: RFC 6265bis section 4.1.3.1.
ACCESS_COOKIE = "__Secure-hubbub-access"
REFRESH_COOKIE = "__Secure-hubbub-refresh"
CSRF_HEADER = "X-CSRF-Token"


def given_token(request: web.Request) -> str:
    """Return the access token of a request: of its `Authorization`, or else of a cookie; empty where it has a key."""
    if "X-API-Key" in request.headers:
        return ""
    if given := request.headers.getall("Authorization", []):
        scheme, _, token = given[0].partition(" ")
        token = token.strip()
        is_one = len(given) == 1 and scheme.lower() == "bearer" and looks_like_one(token)
        return token if is_one else ""
    return request.cookies.get(ACCESS_COOKIE, "")


async def signed_in(parts: ApiParts, request: web.Request, token: str) -> Seen:
    """Return whose token it is, and count a request of theirs.

    Raises:
        Problem: 403 for a cookie that a page of another site may have sent; 429 at the limit.
        BusError: it would change something, and Redis is away.
        DatabaseError: it could not be looked up.
    """
    assert parts.admin is not None, "only routes of operators ask"
    seen = await parts.admin.operators.sessions.read(token)
    if seen.session is None:
        return seen
    request[CONTEXT].key_id = seen.session.operator.id
    await _spend(parts, request, seen.session)
    if "Authorization" not in request.headers:
        check_page(parts, request, seen.session.csrf)
    return seen


def check_page(parts: ApiParts, request: web.Request, csrf: str) -> None:
    """Make sure that a request with a cookie comes from the console's own page, wherever it could change something.

    Raises: Problem: 403 where it may not.
    """
    if request.method == "GET":
        return
    given = request.headers.get(CSRF_HEADER, "").encode("utf-8", "replace")
    if not hmac.compare_digest(given, csrf.encode()) or not is_own_page(request, parts.settings.public_url):
        raise Problem(
            403, "csrf", f"A request with a cookie needs the header {CSRF_HEADER}, as signing in gave it."
        )


async def _spend(parts: ApiParts, request: web.Request, session: Session) -> None:
    assert parts.admin is not None, "it was there before"
    limit = Limit(requests=parts.admin.operators.settings.requests_per_minute, window_s=60)
    name = f"operator:{session.operator.id}"
    try:
        allowance = await parts.limits.spend(name, limit)
    except BusError:
        if request.method != "GET":
            raise
        # Who they are and that they may is the database's to say: they can see what it holds.
        allowance = parts.own_limits.spend(name, limit)
    left = {
        "RateLimit-Policy": f'"operators";q={limit.requests};w={limit.window_s}',
        "RateLimit": f'"operators";r={allowance.remaining};t={allowance.retry_after_s}',
    }
    request[CONTEXT].headers.update(left)
    if not allowance.allowed:
        raise too_many("rate_limited", "The limit of this operator is reached.", allowance.retry_after_s)
