"""The documents and chunks in the database; every change is one transaction and counts the version up."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from hub.documents.parsing import Document
from knowledge.chunks import Chunk
from knowledge.tables import ChunkRow, DocumentRow, VersionRow

READ_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDocument:
    """A document as the database knows it."""

    id: int
    root: Path
    location: str
    version: str
    model: str | None
    """Embedding model of its chunks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a document belongs."""

    collection: str
    root: Path
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedChunk:
    """A chunk with its vector."""

    chunk: Chunk
    text_hash: str
    embedding: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentInfo:
    """One line of the list of documents."""

    collection: str
    location: str
    title: str
    media_type: str
    version: str
    size_bytes: int
    added_at: datetime
    chunks: int


class DocumentStore:
    """Reads and writes documents; blocks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def known(self, collection: str) -> dict[Path, KnownDocument]:
        """Give the documents of a collection by their absolute paths."""
        columns = (DocumentRow.id, DocumentRow.root, DocumentRow.location, DocumentRow.version)
        model = (
            select(func.min(ChunkRow.embedding_model))
            .where(ChunkRow.document_id == DocumentRow.id)
            .scalar_subquery()
        )
        query = select(*columns, model.label("model")).where(DocumentRow.collection == collection)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return {
            Path(row.root, row.location): KnownDocument(
                id=row.id, root=Path(row.root), location=row.location, version=row.version, model=row.model
            )
            for row in rows
        }

    def documents(self) -> list[DocumentInfo]:
        """List all documents."""
        count = func.count(ChunkRow.id).label("chunks")
        query = (
            select(DocumentRow.__table__, count)
            .outerjoin(ChunkRow, ChunkRow.document_id == DocumentRow.id)
            .group_by(DocumentRow.__table__.c.id)
            .order_by(DocumentRow.collection, DocumentRow.location)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        names = DocumentInfo.__dataclass_fields__
        return [DocumentInfo(**{name: row[name] for name in names}) for row in rows]

    def put(
        self,
        place: Place,
        document: Document,
        chunks: Sequence[EmbeddedChunk],
        model: str,
        *,
        old: int | None,
    ) -> None:
        """Add a document, in place of an old one and of whatever another process put there meanwhile."""
        with self._change() as connection:
            connection.execute(
                delete(DocumentRow).where(
                    (DocumentRow.id == (old or 0))
                    | (
                        (DocumentRow.collection == place.collection)
                        & (DocumentRow.root == str(place.root))
                        & (DocumentRow.location == place.location)
                    )
                )
            )
            values = {
                "collection": place.collection,
                "root": str(place.root),
                "location": place.location,
                "title": document.title,
                "media_type": document.media_type,
                "version": document.version,
                "size_bytes": document.size_bytes,
                "added_at": datetime.now(UTC),
            }
            number = connection.execute(
                insert(DocumentRow).values(values).returning(DocumentRow.id)
            ).scalar_one()
            _insert_chunks(connection, number, chunks, model)

    def move(self, document_id: int, place: Place) -> None:
        """Give a document another root and location."""
        with self._change() as connection:
            connection.execute(
                update(DocumentRow)
                .where(DocumentRow.id == document_id)
                .values(root=str(place.root), location=place.location)
            )

    def remove(self, document_id: int) -> None:
        """Remove a document and its chunks."""
        with self._change() as connection:
            connection.execute(delete(DocumentRow).where(DocumentRow.id == document_id))

    def embeddings(self, hashes: Iterable[str], model: str) -> dict[str, bytes]:
        """Give the embeddings that are there already, by the hash of what was embedded."""
        wanted = list(hashes)
        found: dict[str, bytes] = {}
        with self._engine.connect() as connection:
            for start in range(0, len(wanted), READ_BATCH):
                chosen = ChunkRow.text_hash.in_(wanted[start : start + READ_BATCH])
                query = select(ChunkRow.text_hash, ChunkRow.embedding)
                rows = connection.execute(query.where(chosen, ChunkRow.embedding_model == model))
                found.update((row.text_hash, row.embedding) for row in rows)
        return found

    def of_other_models(self, model: str) -> list[int]:
        """Give the documents that another embedding model has embedded."""
        query = select(ChunkRow.document_id).where(ChunkRow.embedding_model != model).distinct()
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def chunks_of(self, document_id: int) -> tuple[str, list[Chunk]]:
        """Give a document's title and chunks in reading order."""
        query = select(ChunkRow.heading, ChunkRow.text).where(ChunkRow.document_id == document_id)
        with self._engine.connect() as connection:
            title = connection.execute(
                select(DocumentRow.title).where(DocumentRow.id == document_id)
            ).scalar()
            rows = connection.execute(query.order_by(ChunkRow.ordinal)).all()
        return title or "", [Chunk(heading=row.heading, text=row.text) for row in rows]

    def replace_chunks(self, document_id: int, chunks: Sequence[EmbeddedChunk], model: str) -> None:
        """Give a document new chunks, unless it has been removed meanwhile."""
        with self._change() as connection:
            connection.execute(delete(ChunkRow).where(ChunkRow.document_id == document_id))
            if connection.execute(select(DocumentRow.id).where(DocumentRow.id == document_id)).scalar():
                _insert_chunks(connection, document_id, chunks, model)

    @contextmanager
    def _change(self) -> Iterator[Connection]:
        with self._engine.execution_options(immediate=True).begin() as connection:
            yield connection
            connection.execute(update(VersionRow).values(version=VersionRow.version + 1))


def _insert_chunks(
    connection: Connection, document_id: int, chunks: Sequence[EmbeddedChunk], model: str
) -> None:
    rows = [
        {
            "document_id": document_id,
            "ordinal": ordinal,
            "heading": embedded.chunk.heading,
            "text": embedded.chunk.text,
            "text_hash": embedded.text_hash,
            "embedding": embedded.embedding,
            "embedding_model": model,
        }
        for ordinal, embedded in enumerate(chunks)
    ]
    if rows:
        connection.execute(insert(ChunkRow), rows)
