"""What a site's own server does: sign who its visitor is."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

from hub.messages import utc_now

SECRET = b"the secret of a shop, 32 bytes.."


def sign(head: Any = None, *, secret: bytes = SECRET, **claims: Any) -> str:
    """Return a JSON Web Token with these claims."""
    parts = [_part({"alg": "HS256", "typ": "JWT"} if head is None else head), _part(claims)]
    digest = hmac.digest(secret, ".".join(parts).encode(), hashlib.sha256)
    return ".".join([*parts, base64.urlsafe_b64encode(digest).decode().rstrip("=")])


def soon() -> int:
    """Return a time in an hour, as tokens tell it."""
    return int((utc_now() + timedelta(hours=1)).timestamp())


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
