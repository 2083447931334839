"""What operators see and change of the documents: collections, who may read them, what is in them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, func, select, update

from hub.database import StoredText
from hub.errors import ChangedMeanwhile, KnowledgeError
from knowledge.audience import parse_audience
from knowledge.store import change
from knowledge.tables import ChunkRow, CollectionRow, DocumentRow

BUNDLED = "bundled"
"""Collection of the project's own documents."""
DOCUMENTS = "documents"
"""Collection of what an operator adds without naming one."""
OWN = (BUNDLED, DOCUMENTS)
"""Collections that are always there."""
MAX_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionInfo:
    """One line of the list of collections."""

    name: str
    audience: str
    created_at: datetime
    documents: int
    size_bytes: int
    """Of the documents as they were read."""
    chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentEntry:
    """One line of the list of a collection's documents."""

    id: int
    collection: str
    root: str
    location: str
    title: str
    media_type: str
    version: str
    size_bytes: int
    added_at: datetime
    chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFilter:
    """Which documents; what is empty does not matter."""

    location: str = ""
    """What it begins with, letter by letter."""
    root: str = ""
    is_of_root: bool = True
    """False: all but those of `root`."""

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return them for a statement."""
        found: list[ColumnElement[bool]] = []
        if self.location:
            # LIKE would take upper and lower case for the same on one database and not on the other.
            found.append(
                func.substr(DocumentRow.location, 1, len(self.location), type_=StoredText) == self.location
            )
        if self.root:
            found.append(
                (DocumentRow.root == self.root) if self.is_of_root else (DocumentRow.root != self.root)
            )
        return found


EVERY_DOCUMENT = DocumentFilter()


class Library:
    """Reads and changes collections and their documents; blocks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collections(self) -> list[CollectionInfo]:
        """List all collections by name."""
        chunks = (
            select(func.count(ChunkRow.id))
            .join(DocumentRow)
            .where(DocumentRow.collection == CollectionRow.name)
            .scalar_subquery()
        )
        query = (
            select(
                CollectionRow.name,
                CollectionRow.audience,
                CollectionRow.created_at,
                func.count(DocumentRow.id).label("documents"),
                func.coalesce(func.sum(DocumentRow.size_bytes), 0).label("size_bytes"),
                chunks.label("chunks"),
            )
            .outerjoin(DocumentRow, DocumentRow.collection == CollectionRow.name)
            .group_by(CollectionRow.name, CollectionRow.audience, CollectionRow.created_at)
            .order_by(CollectionRow.name)
        )
        with self._engine.connect() as connection:
            return [CollectionInfo(**row) for row in connection.execute(query).mappings()]

    def documents(
        self,
        collection: str,
        *,
        after: int = 0,
        limit: int = 100,
        which: DocumentFilter = EVERY_DOCUMENT,
    ) -> Sequence[DocumentEntry]:
        """List documents of a collection in the order in which they were added.

        Args:
            after: id of the last document of the page before.
            limit: most documents of a page, up to `MAX_PAGE`.
            which: all of the others are left out.
        """
        names = [name for name in DocumentEntry.__dataclass_fields__ if name != "chunks"]
        count = (
            select(func.count(ChunkRow.id)).where(ChunkRow.document_id == DocumentRow.id).scalar_subquery()
        )
        query = (
            select(*(getattr(DocumentRow, name) for name in names), count.label("chunks"))
            .where(DocumentRow.collection == collection, DocumentRow.id > after, *which.conditions())
            .order_by(DocumentRow.id)
            .limit(max(1, min(limit, MAX_PAGE)))
        )
        with self._engine.connect() as connection:
            return [DocumentEntry(**row) for row in connection.execute(query).mappings()]

    def set_audience(self, collection: str, audience: str, seen: str = "") -> None:
        """Change who may read a collection; it counts from the next search on.

        Args:
            seen: audience that it must still have; empty: any.

        Raises:
            KnowledgeError: there is no such collection or audience.
            ChangedMeanwhile: it has another audience by now.
        """
        wanted = parse_audience(audience)
        with change(self._engine) as connection:
            query = update(CollectionRow).where(CollectionRow.name == collection)
            if seen:
                query = query.where(CollectionRow.audience == seen)
            if not connection.execute(query.values(audience=wanted)).rowcount:
                if seen:
                    raise ChangedMeanwhile
                raise KnowledgeError(f"there is no collection {collection!r}")

    def remove_document(self, document_id: int) -> bool:
        """Remove a document; False when there is none. What is still at its source comes back when that is read again."""
        with change(self._engine) as connection:
            return bool(connection.execute(delete(DocumentRow).where(DocumentRow.id == document_id)).rowcount)

    def remove_collection(self, collection: str) -> int:
        """Remove a collection with all that is in it; of those that are always there, only what is in it.

        Returns: how many documents were removed.
        Raises: KnowledgeError: there is no such collection.
        """
        with change(self._engine) as connection:
            chosen = select(CollectionRow.name).where(CollectionRow.name == collection)
            if connection.execute(chosen).scalar() is None:
                raise KnowledgeError(f"there is no collection {collection!r}")
            removed = connection.execute(delete(DocumentRow).where(DocumentRow.collection == collection))
            if collection not in OWN:
                connection.execute(delete(CollectionRow).where(CollectionRow.name == collection))
            return int(removed.rowcount)

    def count_person(self, person: str) -> int:
        """Count the collections that are for one person alone."""
        with self._engine.connect() as connection:
            own = select(func.count()).where(CollectionRow.audience == parse_audience(f"person:{person}"))
            return int(connection.execute(own.select_from(CollectionRow)).scalar_one())

    def forget_person(self, person: str) -> int:
        """Remove all collections that are for one person alone.

        Returns: how many documents were removed.
        """
        audience = parse_audience(f"person:{person}")
        with change(self._engine) as connection:
            theirs = select(CollectionRow.name).where(CollectionRow.audience == audience)
            removed = connection.execute(delete(DocumentRow).where(DocumentRow.collection.in_(theirs)))
            connection.execute(delete(CollectionRow).where(CollectionRow.audience == audience))
            return int(removed.rowcount)

    def own_passages(
        self, people: Collection[str] | None, *, after: int, limit: int
    ) -> list[tuple[int, dict[str, Any]]]:
        """Give the passages of documents that are for one person alone, as they are handed out to them.

        Args:
            people: whose; everybody's where it is None.
            after: id of the last passage of the page before.
            limit: most passages of a page.

        Returns: the passages with their ids, by these.
        """
        audience = CollectionRow.audience
        theirs = (
            audience.startswith("person:", autoescape=True)
            if people is None
            else audience.in_([parse_audience(f"person:{person}") for person in people])
        )
        document = ("collection", "location", "title", "media_type", "version", "added_at")
        query = (
            select(
                ChunkRow.id,
                audience,
                *(getattr(DocumentRow, name) for name in document),
                ChunkRow.ordinal,
                ChunkRow.heading,
                ChunkRow.text,
            )
            .join(DocumentRow, DocumentRow.id == ChunkRow.document_id)
            .join(CollectionRow, CollectionRow.name == DocumentRow.collection)
            .where(theirs, ChunkRow.id > after)
            .order_by(ChunkRow.id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [(row.pop("id"), row) for row in rows]

    def kept_chunks(self, chunks: Collection[int], *, without: Collection[str]) -> set[int]:
        """Tell which of some chunks are in a document that is not for one of these persons alone.

        Args:
            chunks: ids, a few hundred.
            without: the persons.
        """
        theirs = [parse_audience(f"person:{person}") for person in without]
        query = (
            select(ChunkRow.id)
            .join(DocumentRow)
            .outerjoin(CollectionRow, CollectionRow.name == DocumentRow.collection)
            .where(ChunkRow.id.in_(chunks), func.coalesce(CollectionRow.audience, "").not_in(theirs))
        )
        with self._engine.connect() as connection:
            return set(connection.execute(query).scalars())
