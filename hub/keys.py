"""API keys: made, checked, rotated, listed and revoked; the database holds only their SHA-256."""

import hashlib
import hmac
import re
import secrets
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import structlog
from sqlalchemy import Row, and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hub.database import DatabaseError, database_errors
from hub.errors import HubError
from hub.key_tables import EVERY_KEY, ApiKeyRow, EarlierSecretRow, KeyFilter
from hub.messages import utc_now

log = structlog.get_logger(__name__)

PREFIX = "cc_live_"
MODELS_SCOPE = "models"
"""Load, unload and fetch models."""
ADMIN_SCOPE = "admin"
"""Work on documents and people, as an operator does with commands."""
SELF_SERVICE = "self-service"
"""Label of keys that were handed out to whoever asked."""
SCOPES = (MODELS_SCOPE, ADMIN_SCOPE)
"""What a key may be allowed to do beyond asking and reading; no key that is handed out by self-service has one."""
USE_NOTED_EVERY = timedelta(minutes=1)
LONGEST_OVERLAP = timedelta(days=30)
MOST_SECRETS = 5
"""Earlier secrets of one key that may work at once."""

_KEY = re.compile(rf"{PREFIX}([0-9a-f]{{12}})_([A-Za-z0-9_-]{{43}})", re.ASCII)
_FOREIGN = re.compile(r"[!-~]{16,200}", re.ASCII)
"""A key that an earlier system has made: its digest was imported, and it is found by that."""
_NOBODY = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
"""Compared with when there is no such key, so that both cases take the same steps."""


class UnknownTier(HubError):
    """A key was asked for in a tier that the settings do not have."""


class NotRotated(HubError):
    """A key cannot get a new secret."""


class KeyChanged(HubError):
    """A key is not any more what a change was made for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What may be told about a key; never its secret, never its hash."""

    id: str
    tier: str
    label: str
    scopes: tuple[str, ...]
    networks: tuple[str, ...] = ()
    """Networks it may be used from; empty: from everywhere."""
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    rotated_at: datetime | None = None
    """When it got the secret it has."""
    old_secret_until: datetime | None = None
    """Until when an earlier secret works as well; None where none was given such a time."""
    last_used_at: datetime | None

    @property
    def shown(self) -> str:
        """The part of the key that is no secret."""
        return f"{PREFIX}{self.id}"

    @property
    def version(self) -> str:
        """What is another after every change of what the key may do and is called."""
        parts = self.tier, self.label, self.scopes, self.networks, self.expires_at, self.revoked_at
        return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:16]

    def is_valid(self, now: datetime) -> bool:
        """Tell whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def admits(self, address: IPv4Address | IPv6Address | None) -> bool:
        """Tell whether it may be used from an address; None is a socket of this machine, which is in no network."""
        if not self.networks:
            return True
        return address is not None and any(address in ip_network(network) for network in self.networks)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made, or its new secret: the only time the text is known."""

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
        self._lookups = engine.execution_options(single=True)
        self._tiers = tiers
        self._noted: dict[str, datetime] = {}

    async def create(
        self,
        tier: str,
        *,
        label: str = "",
        expires_at: datetime | None = None,
        scopes: Sequence[str] = (),
        networks: Sequence[str] = (),
    ) -> NewKey:
        """Make a key.

        Raises: UnknownTier: there is no such tier. DatabaseError: nothing was stored.
        """
        self._check_tier(tier)
        key_id = secrets.token_hex(6)
        text = _new_text(key_id)
        key = ApiKey(
            id=key_id,
            tier=tier,
            label=label,
            scopes=tuple(scopes),
            networks=tuple(networks),
            created_at=utc_now(),
            expires_at=expires_at,
            revoked_at=None,
            last_used_at=None,
        )
        columns = [column.name for column in ApiKeyRow.__table__.columns if column.name != "hash"]
        values = {name: getattr(key, name) for name in columns}
        values |= {"scopes": list(scopes), "networks": list(networks), "hash": _digest(text)}
        async with self._changing() as connection:
            await connection.execute(insert(ApiKeyRow).values(values))
        log.info("key_created", key=key_id, tier=tier)
        return NewKey(text, key)

    async def verify(self, text: str) -> ApiKey | None:
        """Return whose key it is; None when it is malformed, unknown, revoked, expired or rotated out.

        Where it may be used from is for the caller to ask.

        Raises: DatabaseError: it could not be looked up.
        """
        digest = _digest(text)
        if match := _KEY.fullmatch(text):
            rows = await self._found(_BY_ID, match[1])
        elif _FOREIGN.fullmatch(text):
            rows = await self._found(_BY_SECRET, digest)
        else:
            return None
        now = utc_now()
        known: list[tuple[Row[Any] | None, str]] = [(None, _NOBODY)]
        for row in rows:
            known.append((row, row.hash))
            if row.earlier and now < row.until:
                known.append((row, row.earlier))
        found = [row for row, secret in known if hmac.compare_digest(digest, secret)]
        key = _key(found[0]) if found and found[0] is not None else None
        if key is None or not key.is_valid(now):
            return None
        await self._note_use(key, now)
        return key

    async def list(self) -> list[ApiKey]:
        """Return all keys, newest first.

        Raises: DatabaseError: they could not be read.
        """
        return list(await self.page())

    async def page(
        self,
        after: tuple[datetime, str] | None = None,
        limit: int | None = None,
        which: KeyFilter = EVERY_KEY,
    ) -> Sequence[ApiKey]:
        """Return keys, newest first.

        Args:
            after: when the last one of the page before was made, and its id.
            limit: how many at most; None: all.
            which: all of the others are left out.

        Raises: DatabaseError: they could not be read.
        """
        query = _listed().where(*which.conditions(utc_now()))
        query = query.order_by(ApiKeyRow.created_at.desc(), ApiKeyRow.id.desc()).limit(limit)
        if after is not None:
            made_at, key_id = after
            same = and_(ApiKeyRow.created_at == made_at, ApiKeyRow.id < key_id)
            query = query.where(or_(ApiKeyRow.created_at < made_at, same))
        async with self._reading() as connection:
            return [_key(row) for row in await connection.execute(query)]

    async def one(self, key_id: str) -> ApiKey | None:
        """Return a key by its id; None where there is none.

        Raises: DatabaseError: it could not be read.
        """
        async with self._reading() as connection:
            row = (await connection.execute(_listed().where(ApiKeyRow.id == key_id))).one_or_none()
        return _key(row) if row is not None else None

    async def change(self, key_id: str, changes: Mapping[str, Any], *, wanted: str = "") -> ApiKey | None:
        """Change what a key may do and is called; None where there is none of the id.

        Args:
            changes: new values of `tier`, `label`, `scopes`, `networks` and `expires_at`.
            wanted: the version that the change is made for; empty: any.

        Raises:
            UnknownTier: there is no such tier.
            KeyChanged: it is of another version.
            DatabaseError: nothing was changed.
        """
        if unknown := changes.keys() - {"tier", "label", "scopes", "networks", "expires_at"}:
            raise ValueError(f"{sorted(unknown)} cannot be changed")
        self._check_tier(changes.get("tier", next(iter(self._tiers))))
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in changes.items()}
        engine = self._engine.execution_options(immediate=True)
        async with database_errors("the keys could not be changed"), engine.begin() as connection:
            row = (await connection.execute(_listed().where(ApiKeyRow.id == key_id))).one_or_none()
            if row is None:
                return None
            if wanted and _key(row).version != wanted:
                raise KeyChanged(f"key {key_id} was changed meanwhile")
            await connection.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(**values))
            changed = (await connection.execute(_listed().where(ApiKeyRow.id == key_id))).one()
        log.info("key_changed", key=key_id, changed=sorted(values))
        return _key(changed)

    async def rotate(self, key_id: str, *, overlap: timedelta) -> NewKey | None:
        """Give a key a new secret; the one it has works as well until the overlap is over.

        Whoever uses either is the same: tier, scopes, sessions and limits are those of the key.

        Raises:
            NotRotated: it is revoked or expired, or too many of its secrets work already.
            DatabaseError: nothing was changed.
        """
        now, text = utc_now(), _new_text(key_id)
        engine = self._engine.execution_options(immediate=True)
        async with database_errors("the keys could not be changed"), engine.begin() as connection:
            row = (await connection.execute(_listed().where(ApiKeyRow.id == key_id))).one_or_none()
            if row is None:
                return None
            if not _key(row).is_valid(now):
                raise NotRotated(f"key {key_id} is revoked or expired")
            old = EarlierSecretRow
            await connection.execute(delete(old).where(old.key_id == key_id, old.until <= now))
            count = select(func.count()).select_from(old).where(old.key_id == key_id)
            if (await connection.scalar(count) or 0) >= MOST_SECRETS and overlap:
                raise NotRotated(f"{MOST_SECRETS} earlier secrets of key {key_id} still work")
            if overlap:
                until = now + min(overlap, LONGEST_OVERLAP)
                await connection.execute(insert(old).values(hash=row.hash, key_id=key_id, until=until))
            else:
                # At once means all of them: that is what it is asked for when one was lost.
                await connection.execute(delete(old).where(old.key_id == key_id))
            changed = update(ApiKeyRow).where(ApiKeyRow.id == key_id)
            await connection.execute(changed.values(hash=_digest(text), rotated_at=now))
            made = (await connection.execute(_listed().where(ApiKeyRow.id == key_id))).one()
        log.info("key_rotated", key=key_id, overlap_s=round(overlap.total_seconds()))
        return NewKey(text, _key(made))

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

    def _check_tier(self, tier: str) -> None:
        if tier not in self._tiers:
            raise UnknownTier(f"there is no tier {tier!r}; expected one of {', '.join(self._tiers)}")

    async def _found(self, query: Any, wanted: str) -> Sequence[Row[Any]]:
        """Return a key once for each of its earlier secrets, at least once."""
        async with database_errors("the keys could not be read"), self._lookups.connect() as connection:
            return (await connection.execute(query, {"wanted": wanted})).all()

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
        async with database_errors("the keys could not be read"), self._engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[AsyncConnection]:
        # Each is one statement and needs no turn: a long ingest must not keep a request waiting.
        async with database_errors("the keys could not be changed"), self._engine.begin() as connection:
            yield connection


def _new_text(key_id: str) -> str:
    return f"{PREFIX}{key_id}_{secrets.token_urlsafe(32)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _listed() -> Any:
    """Begin a query of keys with the end of the last overlap."""
    overlap = (
        select(func.max(EarlierSecretRow.until))
        .where(EarlierSecretRow.key_id == ApiKeyRow.id)
        .correlate(ApiKeyRow)
        .scalar_subquery()
    )
    return select(ApiKeyRow, overlap.label("old_secret_until")).select_from(ApiKeyRow)


def _with_secrets() -> Any:
    """Begin a query of keys, each once for each of its earlier secrets, at least once."""
    earlier = EarlierSecretRow.hash.label("earlier"), EarlierSecretRow.until
    return (
        _listed().add_columns(*earlier).outerjoin(EarlierSecretRow, EarlierSecretRow.key_id == ApiKeyRow.id)
    )


# Every request asks one of these. Made once: putting a query together takes longer than SQLite takes to answer it.
_WANTED: Any = bindparam("wanted")
_BY_ID = _with_secrets().where(ApiKeyRow.id == _WANTED)
_BY_SECRET = _with_secrets().where(
    or_(
        ApiKeyRow.hash == _WANTED,
        ApiKeyRow.id
        == select(EarlierSecretRow.key_id).where(EarlierSecretRow.hash == _WANTED).scalar_subquery(),
    )
)


def _key(row: Row[Any]) -> ApiKey:
    values = {name: getattr(row, name) for name in ApiKey.__dataclass_fields__}
    values |= {"scopes": tuple(row.scopes), "networks": tuple(row.networks)}
    return ApiKey(**values)
