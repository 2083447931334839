"""`POST /widget/session`: a page tells its site and who its visitor is, and gets a ticket for a socket."""

import structlog
from aiohttp import web

from connectors.web.day_caps import DayCaps
from connectors.web.identity import read_identity
from connectors.web.json_object import read_object
from connectors.web.pace import address_name
from connectors.web.replies import BODY_CODES, answer, preflight, refuse
from connectors.web.services import Services
from connectors.web.sites import Site
from connectors.web.tickets import TICKET_S
from connectors.web.visitors import Visitor
from hub.errors import BusError
from hub.http_body import BodyRefused, read_body

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 16 * 1024
READ_TIMEOUT_S = 10.0


class Refused(Exception):
    """A request that gets a code instead of a ticket."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class SignIn:
    """Hands tickets out."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._caps = DayCaps(services.store)

    async def allow(self, request: web.Request) -> web.Response:
        """Answer a browser that asks whether a page may."""
        origin = request.headers.get("Origin", "")
        if not self._services.sites.admits(origin, request.host):
            return refuse(403, "origin_not_allowed")
        return preflight(origin)

    async def serve(self, request: web.Request) -> web.Response:
        """Answer with ticket and token."""
        origin = request.headers.get("Origin", "")
        # Before the site is known the answer may be read by pages that are welcome somewhere.
        reader = origin if self._services.sites.admits(origin, request.host) else ""
        if wait_ms := self._services.pace.take_session(address_name(request)):
            retry_after = {"Retry-After": str(wait_ms // 1000 + 1)}
            return refuse(429, "too_many_sessions", reader, **retry_after)
        try:
            fields = await _fields(request)
            site = self._site(fields["site"], origin, request.host)
            visitor, token = self._visitor(site, fields)
            if not fields["token"] and not fields["identity"] and await self._caps.is_full(site):
                # Whoever has been here before may come back to what was answered.
                return refuse(429, "day_limit", reader, **{"Retry-After": "3600"})
        except Refused as refused:
            return refuse(refused.status, refused.code, reader)
        except BusError:
            return refuse(503, "unavailable", reader, **{"Retry-After": "2"})
        body = {
            "ticket": self._services.tickets.issue(visitor, origin),
            "ticket_s": TICKET_S,
            "token": token,
            "title": site.title,
            "greeting": site.greeting,
        }
        return answer(200, body, origin)

    def _site(self, key: str, origin: str, host: str) -> Site:
        sites = self._services.sites
        site = sites.named(key, origin) if key else sites.of_page(origin, host)
        if site is None:
            # A lone surrogate in a log line would break whoever writes it out.
            log.warning("session_refused", site=ascii(key[:64]), origin=ascii(origin[:200]))
            raise Refused(404, "unknown_site") if key else Refused(403, "origin_not_allowed")
        return site

    def _visitor(self, site: Site, fields: dict[str, str]) -> tuple[Visitor, str]:
        """Return who gets the ticket, and the token this browser keeps."""
        tokens = self._services.tokens
        visitor = (
            tokens.read(fields["token"], site.name) if fields["token"] else tokens.new_visitor(site.name)
        )
        if visitor is None:
            raise Refused(401, "bad_token")
        token = tokens.sign(visitor)
        if not fields["identity"]:
            return visitor, token
        identity = read_identity(fields["identity"], site.identity_secret)
        if identity is None:
            raise Refused(401, "bad_identity")
        # The token stays the browser's own: once the person has signed out of the site, it opens nothing of theirs.
        person = Visitor(
            f"site:{site.name}:{identity.subject}",
            site.name,
            is_verified=True,
            name=identity.name,
            email=identity.email,
        )
        return person, token


async def _fields(request: web.Request) -> dict[str, str]:
    try:
        body = await read_body(request, max_bytes=MAX_BODY_BYTES, timeout_s=READ_TIMEOUT_S)
    except BodyRefused as refused:
        raise Refused(refused.status, BODY_CODES[refused.status]) from None
    value = read_object(body)
    if value is None:
        raise Refused(400, "bad_json")
    fields = {name: value.get(name, "") for name in ("site", "token", "identity")}
    if not all(isinstance(field, str) for field in fields.values()):
        raise Refused(400, "bad_type")
    return fields
