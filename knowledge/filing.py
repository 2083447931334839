"""Files the items of a source under one collection: reads ahead, skips what has not changed, writes the rest."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import closing
from functools import partial

import structlog

from hub.documents.parsing import CODE, version_of
from hub.errors import KnowledgeError
from knowledge.ahead import work_ahead
from knowledge.reading import DocumentReader, ReadDocument
from knowledge.report import IngestReport
from knowledge.sources.base import DocumentGone, Item
from knowledge.store import DocumentStore, KnownDocument, Place
from knowledge.writing import Embeddings, Writer

log = structlog.get_logger(__name__)

Known = Callable[[Item], KnownDocument | None]
"""Tells what the database knows of an item."""


class Unchanged(Exception):
    """A document is as the database knows it; the source may call it something else by now."""

    def __init__(self, source_version: str) -> None:
        super().__init__(source_version)
        self.source_version = source_version


class Filing:
    """Takes items into one collection; blocks."""

    def __init__(
        self,
        store: DocumentStore,
        embeddings: Embeddings,
        reader: DocumentReader,
        report: IngestReport,
        *,
        collection: str,
        should_stop: Callable[[], bool],
        threads: int,
    ) -> None:
        """Prepare.

        Args:
            report: is told what becomes of each item.
            should_stop: asked before each item is dealt with.
            threads: items fetched and read at once.
        """
        self.report = report
        self.collection = collection
        self._store = store
        self._embeddings = embeddings
        self._reader = reader
        self._should_stop = should_stop
        self._threads = threads

    def take(self, items: Iterable[Item], known: Known) -> bool:
        """Deal with items; False when it was stopped."""
        writer = Writer(self._store, self._embeddings, self.report)
        pairs = ((item, known(item)) for item in items)
        ahead = work_ahead(pairs, self._read, threads=self._threads, give_up=self._reader.give_up)
        with closing(ahead) as results:
            for (item, old), result in results:
                if self._should_stop() or not self._note(item, old, result, writer):
                    return False
        return writer.flush()

    def remove(self, gone: Iterable[KnownDocument]) -> None:
        """Remove documents that are not at their source any more."""
        for document in gone:
            self._store.remove(document.id)
            self.report.note(document.location, "removed")

    def _note(
        self,
        item: Item,
        old: KnownDocument | None,
        result: "Future[tuple[ReadDocument, str]]",
        writer: Writer,
    ) -> bool:
        """Do what is to be done with what was read; False when it was stopped."""
        tell = partial(self.report.note, item.location)
        try:
            document, source_version = result.result()
        except Unchanged as error:
            assert old is not None
            self._keep(item, old, error.source_version)
            tell("unchanged")
        except DocumentGone as error:
            if old is None:
                tell("failed", str(error))
            else:
                self._store.remove(old.id)
                tell("removed")
        except KnowledgeError as error:
            tell("failed", str(error))
        except Exception as error:
            # Whatever a hostile source makes a library raise is about this item alone.
            log.warning("item_not_read", location=item.location, error=repr(error))
            tell("failed", f"cannot be read: {type(error).__name__}")
        else:
            place = Place(collection=self.collection, root=item.root, location=item.location)
            old_id = old.id if old else None
            return writer.add(place, document, source_version=source_version, old=old_id)
        return True

    def _read(self, pair: tuple[Item, KnownDocument | None]) -> tuple[ReadDocument, str]:
        """Read an item; runs in a thread.

        Returns: the document, and what its source calls this version.
        Raises: Unchanged: it is as the database knows it. KnowledgeError: it cannot be read.
        """
        item, old = pair
        if item.problem:
            raise KnowledgeError(item.problem)
        # What another model has embedded is read again whatever its source says.
        current = old if old and old.model == self._embeddings.model else None
        content = item.read(current.source_version if current else "")
        if content is None:
            raise Unchanged(current.source_version if current else "")
        if current and current.version == version_of(content.data):
            raise Unchanged(content.source_version)
        document = self._reader.read(content)
        if document.media_type == CODE and item.root.startswith("git:"):
            # Its path says more of a file of code than its name.
            document = document.model_copy(update={"title": item.location})
        return document, content.source_version

    def _keep(self, item: Item, old: KnownDocument, source_version: str) -> None:
        if old.root != item.root:
            place = Place(collection=self.collection, root=item.root, location=item.location)
            self._store.move(old.id, place)
        if source_version != old.source_version:
            self._store.note_source_version(old.id, source_version)
