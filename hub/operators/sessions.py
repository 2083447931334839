"""Sessions: a password gives an access token and a refresh token, and each refresh token gives the next ones, once."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Row, Select, delete, exists, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hub.messages import utc_now
from hub.operator_settings import OperatorSettings
from hub.operators.passwords import Passwords
from hub.operators.store import Operator
from hub.operators.tables import OperatorRow, SessionRow, UsedTokenRow
from hub.operators.tokens import Claims, SigningKeys
from hub.operators.transactions import changing, reading

log = structlog.get_logger(__name__)

REFRESH_PREFIX = "hub_refresh_"
KNOWN_FOR = timedelta(days=30)
"""How long it is remembered from where an operator has signed in."""
SERIALS_BELIEVED = 2
"""Access tokens of the latest refreshes: one, and the one before for requests that are on their way meanwhile."""

_REFRESH = re.compile(rf"{REFRESH_PREFIX}[A-Za-z0-9_-]{{43}}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who works, and since when."""

    id: str
    operator: Operator
    csrf: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A session with the tokens that were just made; the only time they are known."""

    session: Session
    access_token: str
    access_expires_at: datetime
    refresh_token: str
    refresh_expires_at: datetime

    def __repr__(self) -> str:
        return f"Given(session={self.session.id!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of a token that somebody sent."""

    session: Session | None = None
    was_ours: bool = False
    """It was made here, but is over: whoever sends it guesses nothing."""


class Reused(Exception):
    """A refresh token came a second time: its session has ended, because two have it."""

    def __init__(self, session: str, operator: str) -> None:
        super().__init__("a refresh token was used twice")
        self.session = session
        self.operator = operator


class Sessions:
    """Everybody's sessions.

    Args:
        engine: the database, with its tables up to date.
        passwords: checks the passwords.
    """

    def __init__(self, engine: AsyncEngine, passwords: Passwords, settings: OperatorSettings) -> None:
        self._engine = engine
        self._passwords = passwords
        self._access = timedelta(minutes=settings.access_minutes)
        self._idle = timedelta(minutes=settings.idle_minutes)
        self._lasts = timedelta(hours=settings.session_hours)
        self.keys = SigningKeys(self._access, timedelta(days=settings.key_days))

    async def sign_in(self, name: str, password: str, address: str) -> Given | None:
        """Begin a session; None where name and password are not those of an operator who may.

        An unknown name and a disabled account cost the same work as a wrong password.

        Raises: PasswordsBusy. DatabaseError: the database is away.
        """
        async with reading(self._engine) as connection:
            row = (
                await connection.execute(select(OperatorRow).where(OperatorRow.name == name))
            ).one_or_none()
        known = row.password_hash if row is not None else None
        is_right = await self._passwords.matches(password, known)
        if row is None or not is_right or row.disabled_at is not None:
            return None
        renewed = (
            await self._passwords.hash(password) if self._passwords.is_outdated(row.password_hash) else None
        )
        now = utc_now()
        async with changing(self._engine) as connection:
            # Checking took its time: whoever was disabled or got another password meanwhile does not come in.
            same = (
                OperatorRow.id == row.id,
                OperatorRow.password_hash == known,
                OperatorRow.disabled_at.is_(None),
            )
            values: dict[str, Any] = {"last_signed_in_at": now}
            if renewed is not None:
                values["password_hash"] = renewed
            if not (await connection.execute(update(OperatorRow).where(*same).values(values))).rowcount:
                return None
            given = await self._begin(connection, row.id, address, now)
        log.info("session_begun", operator=row.id, session=given.session.id)
        return given

    async def has_password(self, operator: str, password: str) -> bool:
        """Tell whether a password is that of an operator.

        Raises: PasswordsBusy. DatabaseError: the database is away.
        """
        query = select(OperatorRow.password_hash).where(OperatorRow.id == operator)
        async with reading(self._engine) as connection:
            known = (await connection.execute(query)).scalar_one_or_none()
        return await self._passwords.matches(password, known)

    async def refresh(self, token: str) -> Given | None:
        """Give the next tokens for a refresh token; None where it is not one, or its session is over.

        Raises: Reused. DatabaseError: the database is away.
        """
        if not _REFRESH.fullmatch(token):
            return None
        now, digest = utc_now(), _digest(token)
        if not await self._was_given(digest):
            # Whoever makes tokens up keeps nobody waiting who has something to write.
            return None
        async with changing(self._engine) as connection:
            row = await _joined(connection, SessionRow.refresh_hash == digest)
            if row is not None and _is_open(row, now) and now < row.refreshed_at + self._idle:
                return await self._next(connection, row, digest, now)
            reused = await self._end_of(connection, digest) if row is None else None
        # Outside of the transaction, which would be undone.
        if reused is not None:
            log.warning("refresh_token_reused", session=reused.session, operator=reused.operator)
            raise reused
        return None

    async def read(self, token: str) -> Seen:
        """Return whose an access token is; a session that was ended a moment ago is none.

        Raises: DatabaseError: the database is away.
        """
        async with reading(self._engine) as connection:
            read = await self.keys.read(connection, token)
            if read.claims is None:
                return Seen(was_ours=read.was_ours)
            claims = read.claims
            row = await _joined(connection, SessionRow.id == claims.session)
        if row is None or not _is_open(row, utc_now()) or row.id != claims.operator:
            return Seen(was_ours=True)
        is_latest = row.serial - SERIALS_BELIEVED < claims.serial <= row.serial
        return Seen(session=_session(row) if is_latest else None, was_ours=True)

    async def of_refresh_token(self, token: str) -> Session | None:
        """Return the session whose refresh token this is, without using it.

        Raises: DatabaseError: the database is away.
        """
        async with reading(self._engine) as connection:
            row = await _joined(connection, SessionRow.refresh_hash == _digest(token))
        return _session(row) if row is not None else None

    async def end(self, session: str) -> None:
        """End a session; its tokens are good for nothing from now on.

        Raises: DatabaseError: it goes on.
        """
        async with changing(self._engine) as connection:
            await _end(connection, session)
        log.info("session_ended", session=session)

    async def is_known(self, name: str, address: str) -> bool:
        """Tell whether an operator has signed in from an address lately.

        Raises: DatabaseError: the database is away.
        """
        recent = SessionRow.created_at > utc_now() - KNOWN_FOR
        own = select(OperatorRow.id).where(OperatorRow.name == name).scalar_subquery()
        query = select(exists().where(SessionRow.operator == own, SessionRow.address == address, recent))
        async with reading(self._engine) as connection:
            return bool((await connection.execute(query)).scalar_one())

    async def rotate_keys(self, *, drop: bool) -> str:
        """Sign with a new key from now on; returns its id. `drop`: what others have signed ends at once.

        Raises: DatabaseError: nothing was changed.
        """
        async with changing(self._engine) as connection:
            return str((await self.keys.rotate(connection, drop=drop)).id)

    async def trim(self) -> int:
        """Remove sessions that are over and tell nothing any more; returns how many.

        Raises: DatabaseError: none was removed.
        """
        old = delete(SessionRow).where(SessionRow.expires_at < utc_now() - KNOWN_FOR)
        async with changing(self._engine) as connection:
            return (await connection.execute(old)).rowcount

    async def _was_given(self, digest: str) -> bool:
        given = exists().where(SessionRow.refresh_hash == digest)
        used = exists().where(UsedTokenRow.hash == digest)
        async with reading(self._engine) as connection:
            return bool((await connection.execute(select(or_(given, used)))).scalar_one())

    async def _begin(self, connection: AsyncConnection, operator: str, address: str, now: datetime) -> Given:
        session, refresh_token = secrets.token_hex(12), _new_refresh_token()
        values = {
            "id": session,
            "operator": operator,
            "serial": 0,
            "refresh_hash": _digest(refresh_token),
            "csrf": secrets.token_urlsafe(32),
            "address": address,
            "created_at": now,
            "refreshed_at": now,
            "expires_at": now + self._lasts,
        }
        await connection.execute(insert(SessionRow).values(values))
        return await self._give(connection, session, refresh_token)

    async def _next(self, connection: AsyncConnection, row: Row[Any], digest: str, now: datetime) -> Given:
        refresh_token = _new_refresh_token()
        values = {"refresh_hash": _digest(refresh_token), "serial": row.serial + 1, "refreshed_at": now}
        await connection.execute(update(SessionRow).where(SessionRow.id == row.session).values(values))
        await connection.execute(insert(UsedTokenRow).values(hash=digest, session=row.session))
        return await self._give(connection, row.session, refresh_token)

    async def _give(self, connection: AsyncConnection, session: str, refresh_token: str) -> Given:
        row = await _joined(connection, SessionRow.id == session)
        assert row is not None, "it was just written"
        claims = Claims(operator=row.id, session=session, serial=row.serial)
        access_token = await self.keys.sign(connection, claims)
        return Given(
            session=_session(row),
            access_token=access_token,
            access_expires_at=utc_now() + self._access,
            refresh_token=refresh_token,
            refresh_expires_at=min(row.refreshed_at + self._idle, row.expires_at),
        )

    async def _end_of(self, connection: AsyncConnection, digest: str) -> Reused | None:
        used = select(UsedTokenRow.session).where(UsedTokenRow.hash == digest)
        session = (await connection.execute(used)).scalar_one_or_none()
        if session is None:
            return None
        await _end(connection, session)
        row = await _joined(connection, SessionRow.id == session)
        return Reused(session, row.id if row is not None else "")


async def _joined(connection: AsyncConnection, condition: Any) -> Row[Any] | None:
    """Read a session with its operator; the session's id is `session`, `id` is the operator's."""
    query: Select[Any] = (
        select(
            *(getattr(OperatorRow, name) for name in Operator.__dataclass_fields__),
            SessionRow.id.label("session"),
            SessionRow.serial,
            SessionRow.csrf,
            SessionRow.refreshed_at,
            SessionRow.expires_at,
            SessionRow.ended_at,
        )
        .join(OperatorRow, OperatorRow.id == SessionRow.operator)
        .where(condition)
    )
    row: Row[Any] | None = (await connection.execute(query)).one_or_none()
    return row


async def _end(connection: AsyncConnection, session: str) -> None:
    own = SessionRow.id == session, SessionRow.ended_at.is_(None)
    await connection.execute(update(SessionRow).where(*own).values(ended_at=utc_now()))


def _is_open(row: Row[Any], now: datetime) -> bool:
    return row.ended_at is None and now < row.expires_at and row.disabled_at is None


def _session(row: Row[Any]) -> Session:
    return Session(id=row.session, operator=Operator.of(row), csrf=row.csrf, expires_at=row.expires_at)


def _new_refresh_token() -> str:
    return f"{REFRESH_PREFIX}{secrets.token_urlsafe(32)}"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
