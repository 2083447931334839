"""The table of questions nobody could answer."""

from datetime import datetime

from sqlalchemy import JSON, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from hub.database import Base, StoredText, UtcDateTime


class GapRow(Base):
    """One question, without what would tell a reader who asked it."""

    __tablename__ = "knowledge_gaps"
    __table_args__ = (Index(None, "turn", "ordinal", unique=True), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    turn: Mapped[str] = mapped_column(StoredText)
    """The message it was asked in: a second attempt at it is not counted again. In a conversation of several it begins
    with the digest by which the hub knows who asked, and a blank."""
    ordinal: Mapped[int]
    """Which question of the message."""
    conversation: Mapped[str] = mapped_column(StoredText, index=True)
    """Whose erasure removes it."""
    connector: Mapped[str] = mapped_column(StoredText)
    text: Mapped[str] = mapped_column(StoredText)
    language: Mapped[str] = mapped_column(StoredText)
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    embedding: Mapped[bytes] = mapped_column(LargeBinary)
    """float32, little-endian, unit length."""
    embedding_model: Mapped[str] = mapped_column(StoredText)
    proposals: Mapped[list[dict[str, str]] | None] = mapped_column(JSON)
    """What was found elsewhere; null where nobody looked."""
