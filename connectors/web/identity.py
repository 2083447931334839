"""Who a visitor is by the word of the site's own server: a JSON Web Token signed with HS256, and nothing else.

Source: RFC 7515 (JWS), RFC 7519 (JWT), RFC 8725 (best current practices: the algorithm is ours to choose).
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.web.json_object import read_object
from hub.messages import utc_now
from hub.text import normalise

LEEWAY_S = 300
"""How far the clocks of the site and of the hub may be apart."""
LATEST_S = 1e12
"""No token lasts for thirty thousand years; NaN and Infinity, which Python reads in JSON, are not below it."""
MAX_TOKEN_CHARS = 4096
MAX_SUBJECT_CHARS = 200
MAX_TEXT_CHARS = 200

_TOKEN = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A person as the site knows them."""

    subject: str
    name: str = ""
    email: str = ""


def read_identity(token: str, secret: bytes, now: datetime | None = None) -> Identity | None:
    """Return whom the site has signed in; None when the token is not the site's, or not of this time.

    Args:
        token: with the claims `sub` and `exp`, and if the site likes `nbf`, `name` and `email`.
        secret: the site's; without one nobody is known.
    """
    match = _TOKEN.fullmatch(token) if len(token) <= MAX_TOKEN_CHARS else None
    if match is None or not secret:
        return None
    head, claims, signature = match.groups()
    expected = hmac.digest(secret, f"{head}.{claims}".encode(), hashlib.sha256)
    if not hmac.compare_digest(base64.urlsafe_b64encode(expected).decode().rstrip("="), signature):
        return None
    header, values = _object(head), _object(claims)
    # A token that demands what nobody here understands has to be refused. Source: RFC 7515 section 4.1.11.
    if header is None or values is None or header.get("alg") != "HS256" or "crit" in header:
        return None
    return _identity(values, (now or utc_now()).timestamp())


def _identity(claims: dict[str, Any], now: float) -> Identity | None:
    subject, ends, begins = claims.get("sub"), _seconds(claims.get("exp")), _seconds(claims.get("nbf", 0))
    if ends is None or begins is None or not begins - LEEWAY_S <= now < ends + LEEWAY_S:
        return None
    # Two subjects that look alike must not become one person: what would be changed is refused.
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARS:
        return None
    if normalise(subject) != subject or not subject.isprintable():
        return None
    return Identity(subject=subject, name=_text(claims.get("name")), email=_text(claims.get("email")))


def _object(part: str) -> dict[str, Any] | None:
    try:
        return read_object(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return None


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LATEST_S:
        return None
    return float(value)


def _text(value: Any) -> str:
    return normalise(value).strip()[:MAX_TEXT_CHARS] if isinstance(value, str) else ""
