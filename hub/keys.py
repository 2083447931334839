"""API keys: made, checked, listed and revoked; the database holds only their SHA-256."""

import hashlib
import hmac
import re
import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import JSON, Row, insert, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.orm import Mapped, mapped_column

from hub.database import Base, DatabaseError, StoredText, UtcDateTime
from hub.errors import HubError
from hub.messages import utc_now

log = structlog.get_logger(__name__)

PREFIX = "cc_live_"
MODELS_SCOPE = "models"
"""Load, unload and fetch models."""
ADMIN_SCOPE = "admin"
"""Work on documents and people, as an operator does with commands."""
SCOPES = (MODELS_SCOPE, ADMIN_SCOPE)
"""What a key may be allowed to do beyond asking and reading; no key that is handed out by self-service has one."""
USE_NOTED_EVERY = timedelta(minutes=1)

_KEY = re.compile(rf"{PREFIX}([0-9a-f]{{12}})_([A-Za-z0-9_-]{{43}})", re.ASCII)
_NOBODY = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
"""Compared with when there is no such key, so that both cases take the same steps."""


class UnknownTier(HubError):
    """A key was asked for in a tier that the settings do not have."""


class ApiKeyRow(Base):
    """One key as the database knows it."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(StoredText, primary_key=True)
    hash: Mapped[str] = mapped_column(StoredText, unique=True)
    tier: Mapped[str] = mapped_column(StoredText)
    label: Mapped[str] = mapped_column(StoredText)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What may be told about a key; never its secret, never its hash."""

    id: str
    tier: str
    label: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    @property
    def shown(self) -> str:
        """The part of the key that is no secret."""
        return f"{PREFIX}{self.id}"

    def is_valid(self, now: datetime) -> bool:
        """Tell whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: the only time its text is known."""

    text: str
    key: ApiKey

    def __repr__(self) -> str:
        return f"NewKey({self.key.shown}_...)"


class KeyStore:
    """The table of keys.

    Args:
        engine: the database, with its tables up to date.
        tiers: names of the tiers a key may have.
    """

    def __init__(self, engine: AsyncEngine, tiers: Collection[str]) -> None:
        self._engine = engine
        self._tiers = tiers
        self._noted: dict[str, datetime] = {}

    async def create(
        self,
        tier: str,
        *,
        label: str = "",
        expires_at: datetime | None = None,
        scopes: tuple[str, ...] = (),
    ) -> NewKey:
        """Make a key.

        Raises: UnknownTier: there is no such tier. DatabaseError: nothing was stored.
        """
        if tier not in self._tiers:
            raise UnknownTier(f"there is no tier {tier!r}; expected one of {', '.join(self._tiers)}")
        key_id = secrets.token_hex(6)
        text = f"{PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
        key = ApiKey(
            id=key_id,
            tier=tier,
            label=label,
            scopes=scopes,
            created_at=utc_now(),
            expires_at=expires_at,
            revoked_at=None,
            last_used_at=None,
        )
        values = {name: getattr(key, name) for name in ApiKey.__dataclass_fields__}
        async with self._changing() as connection:
            await connection.execute(
                insert(ApiKeyRow).values(values | {"scopes": list(scopes), "hash": _digest(text)})
            )
        log.info("key_created", key=key_id, tier=tier)
        return NewKey(text, key)

    async def verify(self, text: str) -> ApiKey | None:
        """Return whose key it is; None when it is malformed, unknown, revoked or expired.

        Raises: DatabaseError: it could not be looked up.
        """
        match = _KEY.fullmatch(text)
        if match is None:
            return None
        row = await self._row(match[1])
        known = row.hash if row is not None else _NOBODY
        if not hmac.compare_digest(_digest(text), known) or row is None:
            return None
        key, now = _key(row), utc_now()
        if not key.is_valid(now):
            return None
        await self._note_use(key, now)
        return key

    async def list(self) -> list[ApiKey]:
        """Return all keys, newest first.

        Raises: DatabaseError: they could not be read.
        """
        async with self._reading() as connection:
            rows = await connection.execute(select(ApiKeyRow).order_by(ApiKeyRow.created_at.desc()))
            return [_key(row) for row in rows]

    async def revoke(self, key_id: str) -> bool:
        """End a key for good; False when there is none of that id or it was revoked before.

        Raises: DatabaseError: nothing was changed.
        """
        statement = (
            update(ApiKeyRow)
            .where(ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None))
            .values(revoked_at=utc_now())
        )
        async with self._changing() as connection:
            done = await connection.execute(statement)
        if done.rowcount:
            log.info("key_revoked", key=key_id)
        return bool(done.rowcount)

    async def _row(self, key_id: str) -> Row[Any] | None:
        async with self._reading() as connection:
            return (await connection.execute(select(ApiKeyRow).where(ApiKeyRow.id == key_id))).one_or_none()

    async def _note_use(self, key: ApiKey, now: datetime) -> None:
        noted = max(filter(None, (self._noted.get(key.id), key.last_used_at)), default=None)
        if noted is not None and now - noted < USE_NOTED_EVERY:
            return
        # Before the first await: of a hundred requests at once, one writes.
        self._noted[key.id] = now
        recent = now - USE_NOTED_EVERY
        statement = (
            update(ApiKeyRow)
            .where(
                ApiKeyRow.id == key.id,
                or_(ApiKeyRow.last_used_at.is_(None), ApiKeyRow.last_used_at <= recent),
            )
            .values(last_used_at=now)
        )
        try:
            async with self._changing() as connection:
                await connection.execute(statement)
        except DatabaseError as error:
            # The key is good all the same.
            log.warning("key_use_not_noted", key=key.id, error=str(error))

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise DatabaseError(f"the keys could not be read: {type(error).__name__}") from error

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[AsyncConnection]:
        try:
            # Each is one statement and needs no turn: a long ingest must not keep a request waiting.
            async with self._engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise DatabaseError(f"the keys could not be changed: {type(error).__name__}") from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        tier=row.tier,
        label=row.label,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
