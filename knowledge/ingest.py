"""Takes documents into the knowledge base, each document in a transaction of its own.

A kill between two documents loses nothing: the next run sees by content hash what is done. Every commit counts
`knowledge_version` up, by which the processes that search notice the change.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from hub.database import database_url, opened
from hub.documents import parsing
from hub.errors import KnowledgeError
from hub.settings import PROJECT_ROOT, KnowledgeSettings, Settings
from knowledge.embedder import Embedder
from knowledge.files import Found, Search, may_exist, stands_empty
from knowledge.filing import Filing
from knowledge.index.homes import index_home
from knowledge.index.keeper import IndexKeeper
from knowledge.library import BUNDLED, DOCUMENTS
from knowledge.reading import DocumentReader, LimitedReader, OwnReader
from knowledge.report import IngestReport, Progress
from knowledge.sources.base import Content, Item, Source, SourceUnreadable
from knowledge.store import DocumentStore, KnownDocument
from knowledge.writing import Embeddings

__all__ = ["BUNDLED", "DOCUMENTS", "Ingester", "bundled_documents", "ingest"]

MAX_READERS = 4
"""Processes that read documents at once, where the settings leave it open."""
LEAST_THREADS = 4
"""Pages fetched at once, however few processes read them."""

Tell = Callable[[Progress], None]


def bundled_documents() -> list[Path]:
    """Give the project's own documents: its README and what lies in docs/, but for the tables of measurements."""
    candidates = (PROJECT_ROOT / "README.md", *sorted((PROJECT_ROOT / "docs").glob("*.md")))
    return [path for path in candidates if path.is_file() and path.name != "benchmarks.md"]


def ingest(
    settings: Settings,
    paths: Iterable[Path],
    progress: Tell | None = None,
    *,
    collection: str = DOCUMENTS,
    audience: str | None = None,
    sources: Sequence[Source] = (),
    code: bool = False,
    may_empty: bool = False,
) -> IngestReport:
    """Take documents in, from a program of its own; a hub that is running notices.

    What was added from these paths and sources before and is gone now is removed. Blocks.

    Args:
        paths: files and folders.
        collection: what the documents are filed under.
        audience: who may read the collection; a new one needs it.
        sources: where documents come from beside files.
        code: whether source code in folders is taken in.
        may_empty: whether a folder or source that holds nothing at all any more is meant to.

    Raises:
        KnowledgeError: the collection, the embedding model or the index cannot be used.
        DatabaseError: the database cannot.
    """
    with (
        opened(database_url(settings)) as engine,
        closing(Embedder(settings.knowledge, threads=0)) as embedder,
    ):
        embedder.start()
        ingester = Ingester(DocumentStore(engine), embedder, settings.knowledge)
        report = ingester.ingest(
            paths,
            progress,
            collection=collection,
            audience=audience,
            sources=sources,
            code=code,
            may_empty=may_empty,
        )
        keeper = IndexKeeper(engine, index_home(settings, embedder.model), embedder.model)
        keeper.open()
        keeper.save()
        return report


class Ingester:
    """Reads, cuts, embeds and stores; blocks."""

    def __init__(
        self,
        store: DocumentStore,
        embedder: Embedder,
        settings: KnowledgeSettings,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        computed: Mapping[str, bytes] | None = None,
    ) -> None:
        """Prepare.

        Args:
            should_stop: asked between documents and passes of the embedding model.
            computed: embeddings that need not be computed, by `text_hash`.
        """
        self._store = store
        self._settings = settings
        self._should_stop = should_stop
        self._embeddings = Embeddings(store, embedder, should_stop=should_stop, computed=computed or {})
        self._tokenizer_file = embedder.tokenizer_file

    def ingest(
        self,
        paths: Iterable[Path],
        progress: Tell | None = None,
        *,
        collection: str = DOCUMENTS,
        audience: str | None = None,
        sources: Sequence[Source] = (),
        code: bool = False,
        may_empty: bool = False,
    ) -> IngestReport:
        """Take files, folders and other sources in; what cannot be read is reported and ends nothing.

        A folder or source that holds nothing at all is one whose drive or server is away, unless it may be empty:
        its documents stay.

        Raises: KnowledgeError: the collection is the project's own, is new, or is for others than the audience.
        """
        if collection == BUNDLED:
            raise KnowledgeError(f"the collection {BUNDLED} holds the project's own documents alone")
        self._store.open_collection(collection, audience)
        report = IngestReport(progress=progress)
        readers = self._settings.readers or min(MAX_READERS, os.cpu_count() or 1)
        with LimitedReader(readers, self._tokenizer_file, self._settings.chunk_tokens) as reader:
            filing = self._filing(reader, report, collection, threads=max(LEAST_THREADS, readers + 1))
            report.complete = self._take_files(filing, paths, code=code, may_empty=may_empty) and all(
                self._take_source(filing, source, may_empty=may_empty) for source in sources
            )
        return report

    def keep_bundled(self, wanted: Sequence[Path]) -> IngestReport:
        """Make the collection of the project's own documents exactly these."""
        self._store.open_collection(BUNDLED)
        known = self._store.known(BUNDLED)
        items = [self._file(Found(root=PROJECT_ROOT, path=path)) for path in wanted]
        gone = [document for path, document in known.items() if path not in set(wanted)]
        report = IngestReport(total=len(items) + len(gone))
        reader = OwnReader(self._tokenizer_file, self._settings.chunk_tokens)
        filing = self._filing(reader, report, BUNDLED, threads=1)
        report.complete = filing.take(items, lambda item: known.get(Path(item.root, item.location)))
        if report.complete:
            filing.remove(gone)
        return report

    def embed_again(self) -> int:
        """Embed what another embedding model had embedded; the files are not needed for it.

        Returns: how many documents there were.
        """
        count = 0
        for document_id in self._store.of_other_models(self._embeddings.model):
            title, chunks = self._store.chunks_of(document_id)
            embedded = self._embeddings.of_chunks(title, chunks)
            if embedded is None:
                break
            self._store.replace_chunks(document_id, embedded, self._embeddings.model)
            count += 1
        return count

    def _filing(
        self, reader: DocumentReader, report: IngestReport, collection: str, *, threads: int
    ) -> Filing:
        return Filing(
            self._store,
            self._embeddings,
            reader,
            report,
            collection=collection,
            should_stop=self._should_stop,
            threads=threads,
        )

    def _take_files(self, filing: Filing, paths: Iterable[Path], *, code: bool, may_empty: bool) -> bool:
        # Not `resolve`: the operator's own names stay, symbolic links among them.
        given = [Path(os.path.abspath(path.expanduser())) for path in paths]  # noqa: PTH100
        if not given:
            return True
        self._store.remove_doubles(filing.collection)
        known = self._store.known(filing.collection)
        search = Search((Path(document.root) for document in known.values()), known, code=code)
        found = search.files(given)
        filing.report.code_left_out = search.code_left_out
        below = [path for path in known if any(path.is_relative_to(folder) for folder in given)]
        # What cannot be seen just now, or is of a type that is no longer read, is not gone.
        gone = [known[path] for path in below if not may_exist(path)]
        names = {Path(document.root, document.location) for document in gone}
        items = [self._file(entry) for entry in found if entry.path not in names]
        away = {} if may_empty else _away(gone, given)
        filing.report.total += len(items) + len(gone)
        if not filing.take(items, lambda item: known.get(Path(item.root, item.location))):
            return False
        for document in gone:
            if folder := away.get(document.id):
                filing.report.note(document.location, "failed", _kept(f"the folder {folder}"))
        filing.remove(document for document in gone if document.id not in away)
        return True

    def _take_source(self, filing: Filing, source: Source, *, may_empty: bool) -> bool:
        try:
            _check_name(source.root)
            with source.open() as listing:
                known = self._store.known_of(filing.collection, source.root)
                if known and listing.is_whole and not listing.items and not may_empty:
                    raise SourceUnreadable(_kept("it"))
                filing.report.total += len(listing.items)
                seen: set[str] = set()

                def old_of(item: Item) -> KnownDocument | None:
                    seen.add(item.location)
                    return known.get(item.location)

                if not filing.take(listing.items, old_of):
                    return False
                gone = [known[name] for name in known.keys() - seen if listing.is_whole]
                filing.report.total += len(gone)
                filing.remove(sorted(gone, key=lambda document: document.location))
        except SourceUnreadable as error:
            filing.report.total += 1
            filing.report.note(_shown(source.root), "failed", str(error))
        return True

    def _file(self, entry: Found) -> Item:
        return Item(
            root=str(entry.root),
            location=entry.location,
            read=partial(_load, entry.path, self._settings.max_document_bytes),
            problem=entry.problem,
        )


def _away(gone: Iterable[KnownDocument], given: Sequence[Path]) -> dict[int, Path]:
    """Tell of which documents the folder is likely to be away, by their ids."""
    found = {document.id: stands_empty(Path(document.root, document.location), given) for document in gone}
    return {number: folder for number, folder in found.items() if folder}


def _check_name(root: str) -> None:
    if _shown(root) != root:
        raise SourceUnreadable("has a name that is not UTF-8")


def _shown(root: str) -> str:
    return os.fsencode(root).decode("utf-8", "replace")


def _kept(what: str) -> str:
    return f"is kept, because {what} holds nothing at all; --emptied removes what was in it"


def _load(path: Path, max_bytes: int, _: str) -> Content:
    return Content(data=parsing.load(path, max_bytes), name=path.name)
