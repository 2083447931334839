"""Holds the vector index equal to the database, which is the truth."""

from collections.abc import Iterator, Sequence
from threading import Lock

import numpy as np
import structlog
from sqlalchemy import Connection, Engine, select

from hub.errors import KnowledgeError
from knowledge.index.base import Hidden, Hit, Ids, Index, IndexHome
from knowledge.passages import Vectors
from knowledge.tables import ChunkRow, VersionRow

log = structlog.get_logger(__name__)

READ_BATCH = 500


class IndexKeeper:
    """The index of one embedding model.

    Chunks never change under their id, so the difference of two sets of ids brings an index of any age up to
    date; only a missing, damaged or foreign one is built from all embeddings. Methods block.
    """

    def __init__(self, engine: Engine, home: IndexHome, model: str) -> None:
        self._engine = engine
        self._home = home
        self.model = model
        self._index: Index | None = None
        self._refreshing = Lock()
        self._unusable: set[int] = set()
        self._dimension = 0
        self._saved_version = -1
        self.version = -1
        """Counter of changes the index shows; -1 before it was opened."""

    @property
    def size(self) -> int:
        """How many chunks can be found."""
        return self._index.size if self._index else 0

    @property
    def kind(self) -> str:
        """`flat`, `hnsw`, or empty while there is nothing to find."""
        return self._index.kind if self._index else ""

    @property
    def dimension(self) -> int:
        """Length of a vector; 0 while there is none."""
        return self._dimension

    def open(self) -> None:
        """Read the index from disk and bring it up to date."""
        try:
            self._index, self._saved_version = self._home.open()
            self._dimension = self._index.dimension
        except KnowledgeError as error:
            # Also at the first start, when there is none yet; it is made from the database.
            log.debug("index_not_opened", reason=str(error))
        self.refresh()

    def is_stale(self) -> bool:
        """Tell whether the database has changed since the last refresh; takes a fraction of a millisecond."""
        with self._engine.connect() as connection:
            return _version(connection) != self.version

    def refresh(self) -> None:
        """Take in what any process has changed."""
        with self._refreshing, self._engine.connect() as connection:
            version = _version(connection)
            if version == self.version:
                return
            wanted = connection.execute(select(ChunkRow.id).where(ChunkRow.embedding_model == self.model))
            truth = set(wanted.scalars()) - self._unusable
            known = set(self._index.ids().tolist()) if self._index else set()
            if self._index and (gone := known - truth):
                self._index.remove(_array(gone))
            for ids, vectors in self._read(connection, sorted(truth - known)):
                self._index = self._index or self._home.create(self._dimension)
                self._index.add(ids, vectors)
            self.version = version
            log.info("index_refreshed", version=version, added=len(truth - known), removed=len(known - truth))

    def search(self, vector: Vectors, k: int, hidden: Hidden | None = None) -> Sequence[Hit]:
        """Find the chunks nearest to a vector, as if the hidden ones were not there."""
        return self._index.search(vector, k, hidden) if self._index else []

    def save(self) -> None:
        """Write the index to disk if it has changed since; never as it was before somebody's documents were removed."""
        if self._index and self.version != self._saved_version:
            self.refresh()
        with self._refreshing:
            if self._index and self.version != self._saved_version:
                self._home.save(self._index, self.version)
                self._saved_version = self.version

    def _read(self, connection: Connection, ids: list[int]) -> Iterator[tuple[Ids, Vectors]]:
        for start in range(0, len(ids), READ_BATCH):
            chosen = ChunkRow.id.in_(ids[start : start + READ_BATCH])
            rows = connection.execute(select(ChunkRow.id, ChunkRow.embedding).where(chosen)).all()
            usable = {row.id: vector for row in rows if (vector := self._vector(row.embedding)) is not None}
            if missing := {row.id for row in rows} - usable.keys():
                self._unusable |= missing
                log.error("embeddings_unusable", chunks=len(missing))
            if usable:
                yield _array(usable), np.stack(list(usable.values()))

    def _vector(self, blob: bytes) -> Vectors | None:
        self._dimension = self._dimension or len(blob) // 4
        if len(blob) != 4 * self._dimension:
            return None
        vector = np.frombuffer(blob, "<f4")
        return vector if abs(float(np.linalg.norm(vector)) - 1) < 1e-2 else None


def _version(connection: Connection) -> int:
    return connection.execute(select(VersionRow.version)).scalar_one()


def _array(ids: set[int] | dict[int, Vectors]) -> Ids:
    return np.fromiter(ids, np.int64, len(ids))
