"""The tables of operators: accounts, sessions with their refresh tokens, and the keys that sign access tokens."""

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from hub.database import Base, StoredText, UtcDateTime


class OperatorRow(Base):
    """One account."""

    __tablename__ = "operators"

    id: Mapped[str] = mapped_column(StoredText, primary_key=True)
    name: Mapped[str] = mapped_column(StoredText, unique=True)
    role: Mapped[str] = mapped_column(StoredText)
    password_hash: Mapped[str] = mapped_column(StoredText)
    """As argon2 writes it: with its parameters and salt."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    password_changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_signed_in_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SessionRow(Base):
    """From signing in to signing out; all access and refresh tokens that follow from one password belong to it."""

    __tablename__ = "operator_sessions"

    id: Mapped[str] = mapped_column(StoredText, primary_key=True)
    operator: Mapped[str] = mapped_column(
        StoredText, ForeignKey("operators.id", ondelete="CASCADE"), index=True
    )
    serial: Mapped[int]
    """How often it was refreshed."""
    refresh_hash: Mapped[str] = mapped_column(StoredText, unique=True)
    """SHA-256 of the one refresh token that is good now."""
    csrf: Mapped[str] = mapped_column(StoredText)
    """What a page sends along to show that it is the console's own."""
    address: Mapped[str] = mapped_column(StoredText)
    """From where the operator signed in, as limits name it."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    refreshed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class UsedTokenRow(Base):
    """A refresh token that was used: whoever uses it again is not the one it was given to."""

    __tablename__ = "operator_used_tokens"

    hash: Mapped[str] = mapped_column(StoredText, primary_key=True)
    session: Mapped[str] = mapped_column(
        StoredText, ForeignKey("operator_sessions.id", ondelete="CASCADE"), index=True
    )


class SigningKeyRow(Base):
    """A key of HS256."""

    __tablename__ = "operator_signing_keys"

    id: Mapped[str] = mapped_column(StoredText, primary_key=True)
    """The `kid` of the tokens it signs."""
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
