"""The tables of the knowledge base: documents, their chunks with embeddings, and the counter of changes."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from hub.database import Base, UtcDateTime


class DocumentRow(Base):
    """A document as it was when it was last read."""

    __tablename__ = "documents"
    __table_args__ = (UniqueConstraint("collection", "root", "location"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    collection: Mapped[str] = mapped_column(Text)
    root: Mapped[str] = mapped_column(Text)
    """Absolute folder the document was added from."""
    location: Mapped[str] = mapped_column(Text)
    """Path below `root`, with forward slashes."""
    title: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(Text)
    version: Mapped[str] = mapped_column(Text)
    """SHA-256 of the file's bytes."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    added_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ChunkRow(Base):
    """A chunk and its embedding; never changed, only replaced under a new id."""

    __tablename__ = "chunks"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), index=True)
    ordinal: Mapped[int]
    heading: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    text_hash: Mapped[str] = mapped_column(Text, index=True)
    """SHA-256 of what was embedded: title, heading and text."""
    embedding: Mapped[bytes] = mapped_column(LargeBinary)
    """float32, little-endian, unit length."""
    embedding_model: Mapped[str] = mapped_column(Text)


class VersionRow(Base):
    """The one row that counts changes, so that other processes notice them."""

    __tablename__ = "knowledge_version"

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]
