"""The tables of the knowledge base: collections, documents, their chunks with embeddings, the counter of changes."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hub.database import Base, StoredText, UtcDateTime


class CollectionRow(Base):
    """A collection of documents and who may read it; documents of a collection without a row are read by nobody."""

    __tablename__ = "collections"

    name: Mapped[str] = mapped_column(StoredText, primary_key=True)
    audience: Mapped[str] = mapped_column(StoredText)
    """As `knowledge.audience.parse_audience` gives it."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DocumentRow(Base):
    """A document as it was when it was last read."""

    __tablename__ = "documents"
    # On PostgreSQL a migration sees to it in another way, which allows for any length.
    __table_args__ = (UniqueConstraint("collection", "root", "location"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    collection: Mapped[str] = mapped_column(StoredText)
    root: Mapped[str] = mapped_column(StoredText)
    """Where the document was added from: an absolute folder, or another source by a word, a colon and its address."""
    location: Mapped[str] = mapped_column(StoredText)
    """Path below `root`, with forward slashes; of other sources an address or id within it."""
    title: Mapped[str] = mapped_column(StoredText)
    media_type: Mapped[str] = mapped_column(StoredText)
    version: Mapped[str] = mapped_column(StoredText)
    """SHA-256 of the file's bytes."""
    source_version: Mapped[str] = mapped_column(StoredText, server_default="")
    """What the source calls this version (ETag, blob id), by which it need not be read again; empty where it has none."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    added_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ChunkRow(Base):
    """A chunk and its embedding; never changed, only replaced under a new id."""

    __tablename__ = "chunks"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), index=True)
    ordinal: Mapped[int]
    heading: Mapped[str] = mapped_column(StoredText)
    text: Mapped[str] = mapped_column(StoredText)
    text_hash: Mapped[str] = mapped_column(StoredText, index=True)
    """SHA-256 of what was embedded: title, heading and text."""
    embedding: Mapped[bytes] = mapped_column(LargeBinary)
    """float32, little-endian, unit length."""
    embedding_model: Mapped[str] = mapped_column(StoredText)


class VersionRow(Base):
    """The one row that counts changes, so that other processes notice them."""

    __tablename__ = "knowledge_version"

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]
