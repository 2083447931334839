"""The tables of API keys: the keys, their earlier secrets while both work, and what was asked with each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import JSON, BigInteger, ColumnElement, ForeignKey, Text, and_, cast, or_
from sqlalchemy.orm import Mapped, mapped_column

from hub.database import Base, StoredText, UtcDateTime

KeyState = Literal["valid", "expired", "revoked"]


class ApiKeyRow(Base):
    """One key as the database knows it."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(StoredText, primary_key=True)
    hash: Mapped[str] = mapped_column(StoredText, unique=True)
    """SHA-256 of the key's text, in hexadecimal digits."""
    tier: Mapped[str] = mapped_column(StoredText)
    label: Mapped[str] = mapped_column(StoredText)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    networks: Mapped[list[str]] = mapped_column(JSON)
    """Where it may be used; empty: everywhere."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    rotated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class EarlierSecretRow(Base):
    """A secret that a key had before, for as long as it still works."""

    __tablename__ = "api_key_earlier_secrets"

    hash: Mapped[str] = mapped_column(StoredText, primary_key=True)
    key_id: Mapped[str] = mapped_column(StoredText, ForeignKey("api_keys.id", ondelete="CASCADE"), index=True)
    until: Mapped[datetime] = mapped_column(UtcDateTime)


class KeyUsageRow(Base):
    """What was asked with a key on one day of one model."""

    __tablename__ = "api_key_usage"

    key_id: Mapped[str] = mapped_column(StoredText, primary_key=True)
    day: Mapped[str] = mapped_column(StoredText, primary_key=True)
    """In UTC, as ISO 8601 writes it."""
    model: Mapped[str] = mapped_column(StoredText, primary_key=True)
    """Name in the registry; empty where no model was asked."""
    requests: Mapped[int] = mapped_column(BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    answer_tokens: Mapped[int] = mapped_column(BigInteger)


class KeyUsagePositionRow(Base):
    """How far an events stream has been counted; written in the transaction of what was counted."""

    __tablename__ = "api_key_usage_positions"

    stream: Mapped[str] = mapped_column(StoredText, primary_key=True)
    position: Mapped[str] = mapped_column(StoredText)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFilter:
    """Which keys; what is empty does not matter."""

    tier: str = ""
    label: str = ""
    """A part of it, in whatever case."""
    scope: str = ""
    state: KeyState | Literal[""] = ""

    def conditions(self, now: datetime) -> list[ColumnElement[bool]]:
        """Return them for a statement."""
        row = ApiKeyRow
        is_over = and_(row.expires_at.is_not(None), row.expires_at <= now)
        states: dict[str, ColumnElement[bool]] = {
            "revoked": row.revoked_at.is_not(None),
            "expired": and_(row.revoked_at.is_(None), is_over),
            "valid": and_(row.revoked_at.is_(None), or_(row.expires_at.is_(None), row.expires_at > now)),
        }
        found: list[ColumnElement[bool]] = []
        if self.tier:
            found.append(row.tier == self.tier)
        if self.label:
            found.append(row.label.icontains(self.label, autoescape=True))
        if self.scope:
            # A list of words, written the same by every database.
            found.append(cast(row.scopes, Text).contains(f'"{self.scope}"', autoescape=True))
        if self.state:
            found.append(states[self.state])
        return found


EVERY_KEY = KeyFilter()
