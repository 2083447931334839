"""Tells the vector index which chunks a reader must not see, so that those cannot push others out of its results.

The index is only helped by it: whatever it gives is asked for in the database once more, with the reader's audiences
in the query.
"""

from threading import Lock

import numpy as np
from sqlalchemy import ColumnElement, Connection, Engine, select

from knowledge.audience import PUBLIC, Reader
from knowledge.index.base import Hidden
from knowledge.tables import ChunkRow, CollectionRow, DocumentRow, VersionRow


def may_be_read_by(reader: Reader) -> ColumnElement[bool]:
    """Give the condition on `DocumentRow` that a reader may see the document."""
    readable = select(CollectionRow.name).where(CollectionRow.audience.in_(reader.audiences))
    return DocumentRow.collection.in_(readable)


class Visibility:
    """Which chunks are for whom; methods block, and may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()
        self._version = -1
        self._last_id = 0
        self._audiences: dict[str, str] = {}
        self._narrow: dict[str, list[int]] = {}
        """Chunks of the collections that are not public."""
        self._masks: dict[frozenset[str], Hidden | None] = {}

    def hidden_from(self, reader: Reader) -> Hidden | None:
        """Tell what a reader must not see; None where that is nothing."""
        with self._lock:
            with self._engine.connect() as connection:
                self._refresh(connection)
            unseen = frozenset(
                name for name in self._narrow if not reader.may_read(self._audiences.get(name, ""))
            )
            if unseen not in self._masks:
                self._masks[unseen] = self._mask(unseen)
            return self._masks[unseen]

    def view_of(self, reader: Reader) -> str:
        """Name what a reader can see at this moment: equal names mean the same passages.

        It is made of the counter of changes and of those audiences of the reader that some collection is for.
        """
        with self._engine.connect() as connection:
            version = connection.execute(select(VersionRow.version)).scalar_one()
            there = connection.execute(select(CollectionRow.audience).distinct()).scalars().all()
        return " ".join([str(version), *sorted(reader.audiences.intersection(there))])

    def _refresh(self, connection: Connection) -> None:
        version = connection.execute(select(VersionRow.version)).scalar_one()
        if version == self._version:
            return
        rows = connection.execute(select(CollectionRow.name, CollectionRow.audience)).all()
        audiences = {row.name: row.audience for row in rows}
        if audiences != self._audiences:
            self._audiences, self._last_id, self._narrow = audiences, 0, {}
        narrow = [name for name, audience in audiences.items() if audience != PUBLIC]
        # Chunks are never changed: what came since is all that is new.
        query = (
            select(ChunkRow.id, DocumentRow.collection)
            .join(DocumentRow)
            .where(DocumentRow.collection.in_(narrow), ChunkRow.id > self._last_id)
        )
        for number, collection in connection.execute(query) if narrow else ():
            self._narrow.setdefault(collection, []).append(number)
            self._last_id = max(self._last_id, number)
        self._version = version
        self._masks = {}

    def _mask(self, collections: frozenset[str]) -> Hidden | None:
        ids = [np.asarray(self._narrow[name], np.int64) for name in collections]
        if not ids:
            return None
        joined = np.concatenate(ids)
        mask: Hidden = np.zeros(int(joined.max()) + 1, np.bool_)
        mask[joined] = True
        return mask
