"""Tickets: a page gets one over HTTPS, and it opens one socket, once, within a minute, from the same origin."""

import base64
import hmac
import json
import re
import secrets
from datetime import datetime
from typing import Any

from connectors.store import Store
from connectors.web.visitors import Visitor, signature
from hub.messages import utc_now

TICKET_S = 60

_TICKET = re.compile(r"t1\.([A-Za-z0-9_-]{1,8000})\.([A-Za-z0-9_-]{43})", re.ASCII)


class Tickets:
    """Gives tickets out and takes them in; any process with the same key and store takes those of the others."""

    def __init__(self, signing_key: bytes, store: Store) -> None:
        self._key = signing_key
        self._store = store

    def issue(self, visitor: Visitor, origin: str, now: datetime | None = None) -> str:
        """Return a ticket for this visitor on pages of this origin."""
        body = {
            "visitor": visitor.id,
            "site": visitor.site,
            "verified": visitor.is_verified,
            "name": visitor.name,
            "email": visitor.email,
            "origin": origin,
            "ends": int((now or utc_now()).timestamp()) + TICKET_S,
            "nonce": secrets.token_hex(16),
        }
        text = base64.urlsafe_b64encode(json.dumps(body, ensure_ascii=False).encode()).decode().rstrip("=")
        return f"t1.{text}.{signature(self._key, 'ticket', text)}"

    async def redeem(self, ticket: str, origin: str, now: datetime | None = None) -> Visitor | None:
        """Return whose ticket it is; None when it is forged, too old, of another origin, or was used before.

        Raises: BusError: Redis is away; the ticket may or may not have been used up.
        """
        match = _TICKET.fullmatch(ticket)
        if match is None or not hmac.compare_digest(match[2], signature(self._key, "ticket", match[1])):
            return None
        body: dict[str, Any] = json.loads(base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4)))
        if body["origin"] != origin or (now or utc_now()).timestamp() >= body["ends"]:
            return None
        # Remembered for longer than it lasts: the clocks of two processes are not quite the same.
        if not await self._store.claim(f"ticket:{body['nonce']}", 2 * TICKET_S):
            return None
        return Visitor(
            body["visitor"],
            body["site"],
            is_verified=body["verified"],
            name=body["name"],
            email=body["email"],
        )
