"""The tables of API keys: the keys, their earlier secrets while both work, and what was asked with each."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from hub.database import Base, StoredText, UtcDateTime


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
