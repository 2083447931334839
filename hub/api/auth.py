"""Who asks and how much they may: the key is checked and counted before anything else of a request is read."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from hub.api.actors import Actor, acting, note_refusal
from hub.api.addresses import client_address, comes_from, limit_name
from hub.api.body import takes_bodies_of
from hub.api.operator_auth import given_token, signed_in
from hub.api.parts import CONTEXT, ApiParts
from hub.api.problems import Problem, too_many
from hub.api.routes import ROUTE, Access, Route
from hub.keys import ADMIN_SCOPE, SELF_SERVICE, ApiKey
from hub.limits import Limit
from hub.operators.roles import Role, includes
from hub.settings import ApiSettings

FAILED_LOGINS = Limit(requests=20, window_s=60)
"""Refused keys of one address before it is told to wait."""
MAX_KEY_CHARS = 200

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def scoped(scope: str) -> Access:
    """Let whoever has a key with this scope."""
    return Access(needs_key=True, scope=scope)


def operators(role: Role, *, hands_out: bool = False) -> Access:
    """Let operators of at least this role, and whoever has a key with their scope.

    Args:
        hands_out: as `Access`.
    """
    return Access(needs_key=True, scope=ADMIN_SCOPE, role=role, hands_out=hands_out)


def guarded(parts: ApiParts, route: Route) -> Handler:
    """Let a route's handler be called by those only who may, and within the limit of their key's tier."""
    access = route.access

    async def check(request: web.Request) -> web.StreamResponse:
        request[ROUTE] = route
        check_network(parts.settings, request, access)
        if not access.needs_key:
            return await route.handler(request)
        if not access.scope:
            key = await authenticate(parts, request)
            request[CONTEXT].headers.update(await spend(parts, key, request))
            return await route.handler(request, key)
        return await acting(parts, route, request, await _actor(parts, route, request))

    return takes_bodies_of(limit)(check) if (limit := route.takes.max_body_bytes) else check


async def _actor(parts: ApiParts, route: Route, request: web.Request) -> Actor:
    """Return who may call a route: an operator whose role allows it, or whoever has a key with its scope.

    Raises: Problem: 401, 403 or 429.
    """
    needed = route.access.role
    if needed is not None and (token := given_token(request)):
        seen = await signed_in(parts, request, token)
        if seen.session is None:
            # A token that has run out is nobody's guess.
            raise unauthorized() if seen.was_ours else await _refused(parts, request)
        who = Actor.of_session(seen.session)
        if not includes(seen.session.operator.role, needed):
            await note_refusal(parts, route, request, who, "role_needed")
            raise Problem(403, "role_needed", f"This needs the role {needed}.")
        return who
    key = await authenticate(parts, request)
    request[CONTEXT].headers.update(await spend(parts, key, request))
    if route.access.scope not in key.scopes:
        raise Problem(403, "scope_needed", f"This needs a key with the scope {route.access.scope}.")
    return Actor.with_key(key)


def check_network(settings: ApiSettings, request: web.Request, access: Access) -> None:
    """Refuse whom the API, or the operators' part of it, is not for.

    Raises: Problem: 403 for addresses outside of the networks in the settings.
    """
    networks = (access.role and settings.admin_networks) or settings.allowed_networks
    if networks and not access.is_probe and not comes_from(request, networks, settings.trusted_proxies):
        raise Problem(403, "network_not_allowed", "The API may not be used from this network.")


async def authenticate(parts: ApiParts, request: web.Request) -> ApiKey:
    """Return the key of a request.

    Raises: Problem: 401 without a valid key; 403 where it may not be used; 429 when its address has sent too many such.
    """
    return await verified(parts, request, given_key(request))


async def verified(parts: ApiParts, request: web.Request, given: str) -> ApiKey:
    """Return whose key a text is.

    Raises: Problem: as `authenticate`.
    """
    key = await parts.lookups.of(given, parts.keys.verify) if given else None
    address = client_address(request, parts.settings.trusted_proxies)
    if key is not None and key.admits(address):
        request[CONTEXT].key_id = key.id
        return key
    # What carries no key tries none: it costs nothing and counts for nothing.
    if not given:
        raise unauthorized()
    refused = await _refused(parts, request)
    parts.metrics.key_used("", "refused")
    if key is not None and refused.status == 401:
        raise Problem(403, "address_refused", "This key may not be used from this address.")
    raise refused


def unauthorized() -> Problem:
    """Say that nobody is known by what a request carries; always in the same words."""
    return Problem(
        401,
        "unauthorized",
        "A valid key is needed in X-API-Key or in Authorization: Bearer.",
        headers={"WWW-Authenticate": 'Bearer realm="hubbub"'},
    )


async def _refused(parts: ApiParts, request: web.Request) -> Problem:
    """Count a wrong key or token, and return what its sender is told."""
    address = limit_name(client_address(request, parts.settings.trusted_proxies))
    tried = await parts.limits.spend(f"auth:{address}", FAILED_LOGINS)
    if tried.allowed:
        return unauthorized()
    return too_many("too_many_failures", "Too many requests with wrong keys.", tried.retry_after_s)


async def spend(parts: ApiParts, key: ApiKey, request: web.Request) -> dict[str, str]:
    """Count one request of a key; of keys that anybody may get, also for the address that they are used from.

    Returns: headers that tell what is left.
    Raises: Problem: 429 at the limit of its tier, or of the address.
    """
    tier = parts.key_settings.tiers.get(key.tier)
    if tier is None:
        raise Problem(403, "unknown_tier", "The tier of this key does not exist any more.")
    names = {f"key:{key.id}": key.tier}
    limits = {f"key:{key.id}": Limit(requests=tier.limit, window_s=tier.window_s)}
    if key.label == SELF_SERVICE:
        # Whoever collects keys gets no more by them.
        shared = f"self-service:{limit_name(client_address(request, parts.settings.trusted_proxies))}"
        names[shared] = "address"
        limits[shared] = Limit(requests=parts.key_settings.self_service_per_minute, window_s=60)
    allowances = dict(zip(limits, await parts.limits.spend_all(limits), strict=True))
    # Source: draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4.
    left = {
        "RateLimit-Policy": ", ".join(
            f'"{names[name]}";q={limit.requests};w={limit.window_s}' for name, limit in limits.items()
        ),
        "RateLimit": ", ".join(
            f'"{names[name]}";r={one.remaining};t={one.retry_after_s}' for name, one in allowances.items()
        ),
    }
    if not all(one.allowed for one in allowances.values()):
        wait_s = max(one.retry_after_s for one in allowances.values() if not one.remaining)
        problem = too_many("rate_limited", "The limit of this key is reached.", wait_s)
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
