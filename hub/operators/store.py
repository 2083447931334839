"""The accounts of operators: made, listed, changed and removed."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hub.errors import HubError
from hub.messages import utc_now
from hub.operators.passwords import Passwords
from hub.operators.roles import Role
from hub.operators.tables import OperatorRow, SessionRow
from hub.operators.transactions import changing, reading

log = structlog.get_logger(__name__)

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


class NameRefused(HubError):
    """A name cannot be that of an operator."""

    def __init__(self) -> None:
        super().__init__(
            "a name has 1 to 64 characters out of a-z, 0-9, . _ and -, and begins with a letter or digit"
        )


class NameTaken(HubError):
    """Another operator has the name."""

    def __init__(self) -> None:
        super().__init__("there is an operator of this name")


class LastAdmin(HubError):
    """Nobody would be left who may make operators."""

    def __init__(self) -> None:
        super().__init__("this is the last admin; make another one first")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """What may be told of an account; nothing of its password."""

    id: str
    name: str
    role: Role
    created_at: datetime
    password_changed_at: datetime
    last_signed_in_at: datetime | None
    disabled_at: datetime | None

    @classmethod
    def of(cls, row: Row[Any]) -> "Operator":
        """Read it from a row that has the columns of the table."""
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to become of an account; None leaves things as they are."""

    role: Role | None = None
    disabled: bool | None = None
    password: str | None = None


class OperatorStore:
    """The table of operators.

    Args:
        engine: the database, with its tables up to date.
        passwords: makes the hashes.
    """

    def __init__(self, engine: AsyncEngine, passwords: Passwords) -> None:
        self._engine = engine
        self._passwords = passwords

    async def add(self, name: str, role: Role | None, password: str) -> Operator:
        """Make an account.

        Args:
            role: None: an admin where there is no operator yet, else a viewer.

        Raises: NameRefused, NameTaken, PasswordRefused, PasswordsBusy. DatabaseError: nothing was stored.
        """
        if not NAME.fullmatch(name):
            raise NameRefused
        self._passwords.check(password, name)
        hashed, now = await self._passwords.hash(password), utc_now()
        async with changing(self._engine) as connection:
            if (await connection.execute(select(OperatorRow.id).where(OperatorRow.name == name))).first():
                raise NameTaken
            if role is None:
                count = (await connection.execute(select(func.count()).select_from(OperatorRow))).scalar_one()
                role = "viewer" if count else "admin"
            made = Operator(
                id=secrets.token_hex(6),
                name=name,
                role=role,
                created_at=now,
                password_changed_at=now,
                last_signed_in_at=None,
                disabled_at=None,
            )
            values = {field: getattr(made, field) for field in Operator.__dataclass_fields__}
            await connection.execute(insert(OperatorRow).values(values | {"password_hash": hashed}))
        log.info("operator_added", operator=made.id, role=role)
        return made

    async def all(self, *, role: Role | None = None, is_disabled: bool | None = None) -> Sequence[Operator]:
        """List them by name.

        Args:
            role, is_disabled: only those of whom it holds; None: whatever it is.

        Raises: DatabaseError: they could not be read.
        """
        query = select(OperatorRow).order_by(OperatorRow.name)
        if role is not None:
            query = query.where(OperatorRow.role == role)
        if is_disabled is not None:
            query = query.where(OperatorRow.disabled_at.is_not(None) == is_disabled)
        async with reading(self._engine) as connection:
            rows = await connection.execute(query)
            return [Operator.of(row) for row in rows]

    async def one(self, operator: str) -> Operator | None:
        """Return the account of an id.

        Raises: DatabaseError: it could not be read.
        """
        return await self._where(OperatorRow.id == operator)

    async def named(self, name: str) -> Operator | None:
        """Return the account of a name.

        Raises: DatabaseError: it could not be read.
        """
        return await self._where(OperatorRow.name == name)

    async def change(self, operator: str, change: Change) -> Operator | None:
        """Change an account and end its sessions; None where there is none of the id.

        What is as asked for already is left alone, and so are the sessions then.

        Raises: LastAdmin, PasswordRefused, PasswordsBusy. DatabaseError: nothing was changed.
        """
        hashed = ""
        if change.password is not None:
            found = await self.one(operator)
            if found is None:
                return None
            self._passwords.check(change.password, found.name)
            hashed = await self._passwords.hash(change.password)
        async with changing(self._engine) as connection:
            row = await _row(connection, operator)
            if row is None:
                return None
            values = _values(row, change, hashed)
            if values:
                is_admin = values.get("role", row.role) == "admin" and not values.get(
                    "disabled_at", row.disabled_at
                )
                if not is_admin:
                    await _keep_an_admin(connection, row)
                await connection.execute(update(OperatorRow).where(OperatorRow.id == operator).values(values))
                await end_sessions(connection, operator)
                row = await _row(connection, operator)
        if values:
            log.info("operator_changed", operator=operator, changed=sorted(values))
        return Operator.of(row) if row is not None else None

    async def remove(self, operator: str) -> Operator | None:
        """Remove an account with its sessions; returns what it was, None where there is none of the id.

        Raises: LastAdmin. DatabaseError: nothing was changed.
        """
        async with changing(self._engine) as connection:
            row = await _row(connection, operator)
            if row is None:
                return None
            await _keep_an_admin(connection, row)
            await connection.execute(delete(OperatorRow).where(OperatorRow.id == operator))
        log.info("operator_removed", operator=operator)
        return Operator.of(row)

    async def _where(self, condition: Any) -> Operator | None:
        async with reading(self._engine) as connection:
            row = (await connection.execute(select(OperatorRow).where(condition))).one_or_none()
        return Operator.of(row) if row is not None else None


async def end_sessions(connection: AsyncConnection, operator: str) -> None:
    """End every session of an operator, in a transaction of the caller's."""
    own = SessionRow.operator == operator, SessionRow.ended_at.is_(None)
    await connection.execute(update(SessionRow).where(*own).values(ended_at=utc_now()))


def _values(row: Row[Any], change: Change, hashed: str) -> dict[str, Any]:
    now, values = utc_now(), dict[str, Any]()
    if change.role is not None and change.role != row.role:
        values["role"] = change.role
    if change.disabled is not None and change.disabled != (row.disabled_at is not None):
        values["disabled_at"] = now if change.disabled else None
    if hashed:
        values |= {"password_hash": hashed, "password_changed_at": now}
    return values


async def _row(connection: AsyncConnection, operator: str) -> Row[Any] | None:
    return (await connection.execute(select(OperatorRow).where(OperatorRow.id == operator))).one_or_none()


async def _keep_an_admin(connection: AsyncConnection, row: Row[Any]) -> None:
    """Refuse to take away the last one; who is none can be taken away."""
    if row.role != "admin" or row.disabled_at is not None:
        return
    others = select(OperatorRow.id).where(
        OperatorRow.role == "admin", OperatorRow.disabled_at.is_(None), OperatorRow.id != row.id
    )
    if (await connection.execute(others.limit(1))).first() is None:
        raise LastAdmin
