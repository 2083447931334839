"""The documents and chunks in the database; every change is one transaction and counts the version up."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, insert, select, update

from hub.errors import ChangedMeanwhile, KnowledgeError
from knowledge.audience import parse_audience
from knowledge.chunks import Chunk
from knowledge.reading import ReadDocument
from knowledge.tables import ChunkRow, CollectionRow, DocumentRow, VersionRow

READ_BATCH = 500
COLLECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDocument:
    """A document as the database knows it."""

    id: int
    root: str
    location: str
    version: str
    source_version: str
    """What its source calls this version; empty where it has no name for it."""
    model: str | None
    """Embedding model of its chunks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a document belongs."""

    collection: str
    root: str
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
        """Give the documents of a collection that are files, by their absolute paths."""
        return {Path(document.root, document.location): document for document in self._files(collection)}

    def remove_doubles(self, collection: str) -> int:
        """Remove files that are there under two roots, as two runs leave them that took a folder in and one around it.

        Returns: how many were removed; one of each stays.
        """
        files = self._files(collection)
        kept = {document.id for document in self.known(collection).values()}
        doubles = [document for document in files if document.id not in kept]
        for document in doubles:
            self.remove(document.id)
        return len(doubles)

    def _files(self, collection: str) -> list[KnownDocument]:
        return self._known(collection, DocumentRow.root.startswith("/"))

    def known_of(self, collection: str, root: str) -> dict[str, KnownDocument]:
        """Give the documents of a collection that one source gave, by their locations."""
        return {document.location: document for document in self._known(collection, DocumentRow.root == root)}

    def _known(self, collection: str, chosen: ColumnElement[bool]) -> list[KnownDocument]:
        names = ("id", "root", "location", "version", "source_version")
        model = (
            select(func.min(ChunkRow.embedding_model))
            .where(ChunkRow.document_id == DocumentRow.id)
            .scalar_subquery()
        )
        columns = (getattr(DocumentRow, name) for name in names)
        query = select(*columns, model.label("model")).where(DocumentRow.collection == collection, chosen)
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [KnownDocument(**row) for row in rows]

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
        document: ReadDocument,
        chunks: Sequence[EmbeddedChunk],
        model: str,
        *,
        old: int | None,
        source_version: str = "",
        seen: int | None = None,
    ) -> None:
        """Add a document, in place of an old one and of whatever another process put there meanwhile.

        Args:
            seen: the document that must still be there to be replaced; None: whatever is there.

        Raises:
            KnowledgeError: its collection has been removed meanwhile.
            ChangedMeanwhile: another document is there than was seen, or none.
        """
        with self._change() as connection:
            if audience_of(connection, place.collection) is None:
                raise KnowledgeError(f"the collection {place.collection} is not there any more")
            there = select(DocumentRow.id).where(_is_at(place))
            if seen is not None and connection.execute(there).scalar() != seen:
                raise ChangedMeanwhile
            connection.execute(delete(DocumentRow).where((DocumentRow.id == (old or 0)) | _is_at(place)))
            values = {
                "collection": place.collection,
                "root": place.root,
                "location": place.location,
                "title": document.title,
                "media_type": document.media_type,
                "version": document.version,
                "source_version": source_version,
                "size_bytes": document.size_bytes,
                "added_at": datetime.now(UTC),
            }
            number = connection.execute(
                insert(DocumentRow).values(values).returning(DocumentRow.id)
            ).scalar_one()
            _insert_chunks(connection, number, chunks, model)

    def move(self, document_id: int, place: Place) -> None:
        """Give a document another root and location, in place of whatever another process put there meanwhile."""
        with self._change() as connection:
            there = delete(DocumentRow).where(_is_at(place), DocumentRow.id != document_id)
            connection.execute(there)
            connection.execute(
                update(DocumentRow)
                .where(DocumentRow.id == document_id)
                .values(root=place.root, location=place.location)
            )

    def note_source_version(self, document_id: int, source_version: str) -> None:
        """Write down what a source now calls a document that has not changed; no search notices."""
        with self._engine.execution_options(immediate=True).begin() as connection:
            chosen = update(DocumentRow).where(DocumentRow.id == document_id)
            connection.execute(chosen.values(source_version=source_version))

    def open_collection(self, name: str, audience: str | None = None) -> str:
        """Make sure that a collection is there.

        Args:
            audience: who may read it; None takes it as it is.

        Returns: its audience.
        Raises: KnowledgeError: it is for another audience, or it is new and nobody says whom it is for.
        """
        if not COLLECTION_NAME.fullmatch(name):
            raise KnowledgeError(f"collection {name[:60]!r}: expected letters, digits, '.', '_' and '-'")
        wanted = None if audience is None else parse_audience(audience)
        with self._engine.execution_options(immediate=True).begin() as connection:
            found = audience_of(connection, name)
            if found is None and wanted is None:
                raise KnowledgeError(f"the collection {name} is new: say who may read it, with an audience")
            if found is None:
                values = {"name": name, "audience": wanted, "created_at": datetime.now(UTC)}
                connection.execute(insert(CollectionRow).values(values))
                found = wanted
        if wanted not in (None, found):
            raise KnowledgeError(f"the collection {name} is for {found}, not for {wanted}")
        return str(found)

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
        with change(self._engine) as connection:
            yield connection


@contextmanager
def change(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that all processes notice which search."""
    with engine.execution_options(immediate=True).begin() as connection:
        # First, so that writers take turns in every database: ids of chunks are committed in their order, and what
        # one puts into a place the next one sees there.
        connection.execute(update(VersionRow).values(version=VersionRow.version + 1))
        yield connection


def audience_of(connection: Connection, collection: str) -> str | None:
    """Give the audience of a collection; None where there is no such collection."""
    query = select(CollectionRow.audience).where(CollectionRow.name == collection)
    return connection.execute(query).scalar()


def _is_at(place: Place) -> ColumnElement[bool]:
    return (
        (DocumentRow.collection == place.collection)
        & (DocumentRow.root == place.root)
        & (DocumentRow.location == place.location)
    )


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
