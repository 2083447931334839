"""Who asks and how much they may: the key is checked and counted before anything else of a request is read."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from hub.api.addresses import client_address, limit_name
from hub.api.parts import CONTEXT, ApiParts
from hub.api.problems import Problem, too_many
from hub.keys import ApiKey
from hub.limits import Limit

FAILED_LOGINS = Limit(requests=20, window_s=60)
"""Refused keys of one address before it is told to wait."""
MAX_KEY_CHARS = 200

KeyedHandler = Callable[[web.Request, ApiKey], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def keyed(parts: ApiParts, handler: KeyedHandler) -> Handler:
    """Let a handler be called with a valid key only, within the limit of the key's tier."""

    async def check(request: web.Request) -> web.StreamResponse:
        key = await authenticate(parts, request)
        request[CONTEXT].headers.update(await spend(parts, key))
        return await handler(request, key)

    return check


def scoped(parts: ApiParts, scope: str, handler: KeyedHandler) -> Handler:
    """Let a handler be called with a key that has a scope only; other keys are told so."""

    async def check(request: web.Request, key: ApiKey) -> web.StreamResponse:
        if scope not in key.scopes:
            raise Problem(403, "scope_needed", f"This needs a key with the scope {scope}.")
        return await handler(request, key)

    return keyed(parts, check)


async def authenticate(parts: ApiParts, request: web.Request) -> ApiKey:
    """Return the key of a request.

    Raises: Problem: 401 without a valid key; 429 when its address has sent too many that were not.
    """
    return await verified(parts, request, given_key(request))


async def verified(parts: ApiParts, request: web.Request, given: str) -> ApiKey:
    """Return whose key a text is.

    Raises: Problem: as `authenticate`.
    """
    key = await parts.keys.verify(given) if given else None
    if key is not None:
        request[CONTEXT].key_id = key.id
        return key
    # What carries no key tries none: it costs nothing and counts for nothing.
    if given:
        address = limit_name(client_address(request, parts.settings.trusted_proxies))
        tried = await parts.limits.spend(f"auth:{address}", FAILED_LOGINS)
        if not tried.allowed:
            raise too_many("too_many_failures", "Too many requests with wrong keys.", tried.retry_after_s)
        parts.metrics.key_used("", "refused")
    raise Problem(
        401,
        "unauthorized",
        "A valid key is needed in X-API-Key or in Authorization: Bearer.",
        headers={"WWW-Authenticate": 'Bearer realm="hubbub"'},
    )


async def spend(parts: ApiParts, key: ApiKey) -> dict[str, str]:
    """Count one request of a key.

    Returns: headers that tell what is left.
    Raises: Problem: 429 at the limit of its tier.
    """
    tier = parts.key_settings.tiers.get(key.tier)
    if tier is None:
        raise Problem(403, "unknown_tier", "The tier of this key does not exist any more.")
    allowance = await parts.limits.spend(f"key:{key.id}", Limit(requests=tier.limit, window_s=tier.window_s))
    # Source: draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4.
    left = {
        "RateLimit-Policy": f'"{key.tier}";q={tier.limit};w={tier.window_s}',
        "RateLimit": f'"{key.tier}";r={allowance.remaining};t={allowance.retry_after_s}',
    }
    if not allowance.allowed:
        problem = too_many("rate_limited", "The limit of this key is reached.", allowance.retry_after_s)
        problem.headers.update(left)
        parts.metrics.key_used(key.tier, "limited")
        raise problem
    parts.metrics.key_used(key.tier, "accepted")
    return left


def given_key(request: web.Request) -> str:
    """Return the one key a request carries; empty when it has none, or more than one."""
    given = set(request.headers.getall("X-API-Key", []))
    for value in request.headers.getall("Authorization", []):
        scheme, _, token = value.partition(" ")
        given.add(token.strip() if scheme.lower() == "bearer" else "")
    text = given.pop() if len(given) == 1 else ""
    return text if len(text) <= MAX_KEY_CHARS and text.isascii() else "?"
