"""What the API consists of: each route is said once, and the server, its document and the tests are made from that."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel

from hub.operators.roles import Role

JSON = "application/json"
EVENTS = "text/event-stream"
ZIP = "application/zip"
BYTES = "application/octet-stream"
METRICS = "text/plain"

PREFIX = "/api/v1"
"""Below it stands every route, but for those whose paths other APIs have fixed, and the short forms."""

RouteHandler = Callable[..., Awaitable[web.StreamResponse]]
"""Is called with the request; where the route's access asks for a key with its `ApiKey`, and where it asks for a
scope or a role with the `Actor` instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may call a route."""

    needs_key: bool
    scope: str = ""
    """What the key must be allowed to do; empty: any key."""
    role: Role | None = None
    """The least a signed-in operator must be; None: it is no route for them."""
    hands_out: bool = False
    """Whether it hands out so much of somebody that it comes into the audit log although it changes nothing."""
    is_probe: bool = False
    """Whether it tells of the server itself, also to networks that the API is not for."""


OPEN = Access(needs_key=False)
"""Anybody, or whoever the handler itself lets in."""
PROBE = Access(needs_key=False, is_probe=True)
"""Whoever watches the server."""
SIGN_IN = Access(needs_key=False, role="viewer")
"""Anybody, from where operators may come: who they are is what they are about to say."""
KEY = Access(needs_key=True)
"""Whoever has a key."""


@dataclass(frozen=True, slots=True)
class About:
    """What the document tells of a route."""

    name: str
    """One word for programs, which no other route has."""
    summary: str
    """One line."""
    tag: str
    """The group it is shown in; empty: it is not shown, because it is no part of the API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """What a request may hold."""

    query: type[BaseModel] | None = None
    """None: the query is not looked at."""
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Values of parameters, where the settings name them."""
    patterns: Mapping[str, str] = field(default_factory=dict)
    """What names in the path must look like, where others are refused and not looked up."""
    body: type[BaseModel] | None = None
    """Of JSON."""
    is_file: bool = False
    """Whether the body is the bytes of a file, whatever its type."""
    max_body_bytes: int = 0
    """0: as large as the settings say."""
    can_repeat: bool = False
    """Whether an Idempotency-Key makes it safe to send the request again."""
    can_match: bool = False
    """Whether If-Match says which version it is made for."""

    def faults(self) -> "list[Faults]":
        """Return the codes of requests that hold something else."""
        found: list[Faults] = []
        if self.query is not None:
            found.append({400: ("repeated_parameter", "unknown_parameter"), 422: ("invalid_fields",)})
        if self.body is not None:
            found.append({400: ("invalid_json",), 422: ("invalid_fields",)})
        if self.body is not None or self.is_file:
            found.append({408: ("too_slow",), 415: ("media_type",)})
        if self.can_match:
            found.append({400: ("invalid_if_match",), 412: ("stale",)})
        if self.can_repeat:
            found.append({400: ("invalid_idempotency_key",), 422: ("idempotency_key_reused",)})
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One way in which a request can go well."""

    model: type[BaseModel] | None = None
    """Of JSON; None: it holds no JSON."""
    status: int = 200
    media_type: str = JSON
    """Empty: the answer has no body."""
    says: str = "It is done."
    events: Mapping[str, type[BaseModel] | None] = field(default_factory=dict)
    """Server-sent events by name, with what their data holds; None: an empty object."""


Faults = Mapping[int, tuple[str, ...]]
"""Codes of problems by their status."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path."""

    method: str
    path: str
    """With names in braces; `{name:.+}` is one that may hold slashes."""
    handler: RouteHandler
    access: Access
    about: About
    takes: Takes
    gives: "Gives"

    @property
    def faults(self) -> Faults:
        """Every code that it may answer with when a request does not go well."""
        found: dict[int, list[str]] = defaultdict(list)
        for faults in (*self._general(), self.gives.faults):
            for status, codes in faults.items():
                found[status] += (code for code in codes if code not in found[status])
        return {status: tuple(found[status]) for status in sorted(found)}

    @property
    def is_audited(self) -> bool:
        """Whether every call of it by somebody who is known is an entry of the audit log."""
        return bool(self.access.scope) and (self.method != "GET" or self.access.hands_out)

    def at(self, path: str) -> "Route":
        """Return the same at another path, which is named as its short form."""
        about = replace(self.about, name=f"{self.about.name}_short", tag="short forms")
        return replace(self, path=path, about=about)

    def _general(self) -> list[Faults]:
        # In the order in which a request is looked at.
        general: list[Faults] = [{400: ("bad_request",), 413: ("too_large",), 500: ("internal_error",)}]
        if not self.access.is_probe:
            general.append({403: ("network_not_allowed",)})
        if self.access.needs_key:
            general.append({401: ("unauthorized",), 403: ("unknown_tier", "address_refused")})
            general.append({429: ("rate_limited", "too_many_failures"), 503: ("unavailable",)})
        if self.access.scope:
            general.append({403: ("scope_needed",)})
        if self.access.role is not None and self.access.needs_key:
            general.append({403: ("role_needed", "csrf")})
        general += self.takes.faults()
        if "{" in self.path:
            general.append({404: ("not_found",)})
        return general


class Gives:
    """What a route answers: well in one of these ways, or with a problem.

    Args:
        answers: the first one is the usual one.
        faults: codes of its own; those that follow from what it takes and who may call it are known.
    """

    __slots__ = ("answers", "faults")

    def __init__(self, *answers: Answer, faults: Faults | None = None) -> None:
        self.answers = answers
        self.faults = faults or {}


ROUTE = web.RequestKey("route", Route)
"""The route that a request has reached."""


ROUTES = web.AppKey("routes", Sequence[Route])
"""All routes of a server that are its own, and not a connector's."""


def with_short_forms(routes: Sequence[Route]) -> list[Route]:
    """Return routes below the prefix together with their short forms, which have the same paths without it."""
    return [one for route in routes for one in (route, route.at(route.path.removeprefix(PREFIX)))]


def check_declared(request: web.BaseRequest, part: Literal["query", "body"], model: Any) -> None:
    """Make sure that a handler reads a part of a request as its route says that it does.

    Raises: TypeError: it does not, and the API's document would not be true.
    """
    route = request.get(ROUTE)
    if route is not None and getattr(route.takes, part) is not model:
        raise TypeError(f"{route.about.name} reads its {part} as {model.__name__}, which it does not say")
