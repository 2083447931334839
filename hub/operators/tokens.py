"""Access tokens: short-lived JSON Web Tokens, signed with HS256 and nothing else by keys of the database.

Source: RFC 7519 (JWT), RFC 8725 (best current practices), RFC 9068 (their type).
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
import structlog
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.messages import utc_now
from hub.operators.tables import SigningKeyRow

log = structlog.get_logger(__name__)

ALGORITHM = "HS256"
TYPE = "at+jwt"
ISSUER = "hubbub"
AUDIENCE = "hubbub-admin"
LEEWAY_S = 10
"""How far the clocks of two machines of one hub may be apart."""
MAX_TOKEN_CHARS = 1024
SECRET_BYTES = 32
"""Source: RFC 7518 section 3.2, a key of HS256 is at least as long as its hash."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}", re.ASCII)
_KID = re.compile(r"[0-9a-f]{16}", re.ASCII)
_JTI = re.compile(r"([0-9a-f]{24})\.([0-9]{1,9})", re.ASCII)
_CLAIMS = ("iss", "aud", "sub", "iat", "nbf", "exp", "jti")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token says."""

    operator: str
    """Id of whom it was given to."""
    session: str
    serial: int
    """How often the session was refreshed before it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A text that has the form of a token, read with the key it names."""

    claims: Claims | None
    """None where it is not to be believed."""
    was_ours: bool = False
    """It was signed here, whether it still holds or not: whoever sends it guesses nothing."""


def looks_like_one(text: str) -> bool:
    """Tell whether a text has the form of a signed token, and not that of an API key."""
    return len(text) <= MAX_TOKEN_CHARS and _TOKEN.fullmatch(text) is not None


class SigningKeys:
    """The keys that sign: the newest one does, the ones before are believed until what they signed has run out.

    Every method works on a connection of the caller's.

    Args:
        access: how long a token is good for.
        lasts: age at which a key is followed by a new one.
    """

    def __init__(self, access: timedelta, lasts: timedelta) -> None:
        self._access = access
        self._lasts = lasts

    async def sign(self, connection: AsyncConnection, claims: Claims) -> str:
        """Make a token; makes a key first where there is none or the newest is too old.

        Args:
            connection: of a transaction that takes its turn.
        """
        now = utc_now()
        key = await self._newest(connection)
        if key is None or key.created_at <= now - self._lasts:
            key = await self.rotate(connection)
        payload: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": claims.operator,
            "iat": now,
            "nbf": now,
            "exp": now + self._access,
            "jti": f"{claims.session}.{claims.serial}",
        }
        return jwt.encode(payload, key.secret, ALGORITHM, headers={"kid": key.id, "typ": TYPE})

    async def read(self, connection: AsyncConnection, text: str) -> Read:
        """Read a token, without asking whether its session still is."""
        header = _header(text)
        if header is None:
            return Read(claims=None)
        kid = header["kid"]
        query = select(SigningKeyRow.secret).where(SigningKeyRow.id == kid)
        secret = (await connection.execute(query)).scalar_one_or_none()
        if secret is None:
            return Read(claims=None)
        try:
            payload = jwt.decode(
                text,
                secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY_S,
                options={"require": list(_CLAIMS), "strict_aud": True, "enforce_minimum_key_length": True},
            )
        except jwt.InvalidSignatureError:
            return Read(claims=None)
        except jwt.ExpiredSignatureError:
            return Read(claims=None, was_ours=True)
        except jwt.InvalidTokenError:
            return Read(claims=None)
        return Read(claims=_claims(payload), was_ours=True)

    async def rotate(self, connection: AsyncConnection, *, drop: bool = False) -> Any:
        """Make a new key and forget those that signed nothing that is still good.

        Args:
            connection: of a transaction that takes its turn.
            drop: forget all earlier keys, so that every access token given before ends at once.

        Returns: the new key's row.
        """
        newest, now = await self._newest(connection), utc_now()
        # The newest one so far has signed until now; those before it, until it came.
        is_over = newest is not None and newest.created_at <= now - self._access - timedelta(seconds=LEEWAY_S)
        if newest is not None and (drop or is_over):
            old = (
                delete(SigningKeyRow) if drop else delete(SigningKeyRow).where(SigningKeyRow.id != newest.id)
            )
            await connection.execute(old)
        values = {"id": secrets.token_hex(8), "secret": secrets.token_bytes(SECRET_BYTES), "created_at": now}
        await connection.execute(insert(SigningKeyRow).values(values))
        log.info("signing_key_made", key=values["id"])
        return await self._newest(connection)

    async def _newest(self, connection: AsyncConnection) -> Any:
        query = select(SigningKeyRow).order_by(SigningKeyRow.created_at.desc(), SigningKeyRow.id).limit(1)
        return (await connection.execute(query)).one_or_none()


def _header(text: str) -> Mapping[str, Any] | None:
    if not looks_like_one(text):
        return None
    try:
        header = jwt.get_unverified_header(text)
    except jwt.InvalidTokenError:
        return None
    # Nothing a token says of itself is followed but which of our keys it was signed with.
    is_ours = header.keys() == {"alg", "typ", "kid"} and (header["alg"], header["typ"]) == (ALGORITHM, TYPE)
    return header if is_ours and isinstance(header["kid"], str) and _KID.fullmatch(header["kid"]) else None


def _claims(payload: Mapping[str, Any]) -> Claims | None:
    named = _JTI.fullmatch(str(payload["jti"]))
    if named is None:
        return None
    return Claims(operator=str(payload["sub"]), session=named[1], serial=int(named[2]))
