"""Who is on the other side of a socket: signed visitor tokens, and turn handles that only their owner can use."""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hub.errors import SettingsError
from hub.messages import conversation_id, utc_now

TOKEN_LIFETIME = timedelta(days=400)
"""A token is renewed at every visit. Source: RFC 6265bis section 5.5, the longest life of a cookie."""

_TOKEN = re.compile(r"v1\.([0-9a-f]{32})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})", re.ASCII)
_HANDLE = re.compile(r"([!-~]{1,80})\.([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Visitor:
    """A browser that came back with its token, or a new one."""

    id: str
    """32 hexadecimal digits; of a person whom the site has signed in, `site:<key>:<sub>` on every browser."""
    site: str
    """Where the widget stands: `hub` for the hub's own page, else the origin of the page or the key of the site."""
    is_verified: bool = False
    """Whether the site has signed who this is."""
    name: str = field(default="", compare=False)
    email: str = field(default="", compare=False)

    @property
    def conversation(self) -> str:
        """The only conversation this visitor can see."""
        return conversation_id("web", self.site, self.id)


def signature(key: bytes, *parts: str) -> str:
    """Return what only a process with the key can write below these parts: 43 characters."""
    digest = hmac.digest(key, "\x1f".join(parts).encode("utf-8", "replace"), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class VisitorTokens:
    """Signs and reads what visitors carry.

    Any process with the same key reads them, so nothing about a visitor is stored.
    """

    def __init__(self, signing_key: bytes) -> None:
        if len(signing_key) < 16:
            raise SettingsError(f"the signing key has {len(signing_key)} bytes, at least 16 are needed")
        self._key = signing_key

    def new_visitor(self, site: str) -> Visitor:
        """Return a visitor nobody has seen."""
        return Visitor(secrets.token_hex(16), site)

    def sign(self, visitor: Visitor, now: datetime | None = None) -> str:
        """Return the visitor's token, good on its site for `TOKEN_LIFETIME`."""
        issued = int((now or utc_now()).timestamp())
        return f"v1.{visitor.id}.{issued}.{self._mac('visitor', visitor.site, visitor.id, str(issued))}"

    def read(self, token: str, site: str, now: datetime | None = None) -> Visitor | None:
        """Return whose token it is; None when it is forged, of another site or too old."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        visitor_id, issued, mac = match.groups()
        if not hmac.compare_digest(mac, self._mac("visitor", site, visitor_id, issued)):
            return None
        age_s = (now or utc_now()).timestamp() - int(issued)
        return Visitor(visitor_id, site) if age_s <= TOKEN_LIFETIME.total_seconds() else None

    def handle(self, conversation: str, turn: str) -> str:
        """Return the name of a turn for its visitor.

        Turn ids can be guessed; a handle cannot, so text under way is only given to the page it is for.
        """
        return f"{turn}.{self._mac('turn', conversation, turn)}"

    def turn(self, conversation: str, handle: str) -> str | None:
        """Return the turn of a handle; None when it is not one of this conversation."""
        match = _HANDLE.fullmatch(handle)
        if match is None or not hmac.compare_digest(match[2], self._mac("turn", conversation, match[1])):
            return None
        return match[1]

    def _mac(self, *parts: str) -> str:
        return signature(self._key, *parts)
