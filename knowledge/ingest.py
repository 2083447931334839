"""Takes files and folders into the knowledge base, each document in a transaction of its own.

A kill between two documents loses nothing: the next run sees by content hash what is done. Every commit counts
`knowledge_version` up, by which the processes that search notice the change.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from hub.database import database_url, sync_engine, upgrade
from hub.documents import parsing
from hub.documents.parsing import Document
from hub.errors import KnowledgeError
from hub.settings import PROJECT_ROOT, KnowledgeSettings, Settings
from knowledge.chunks import Chunk, Chunker, text_hash
from knowledge.embedder import Embedder
from knowledge.files import Found, find_files, may_exist
from knowledge.index.keeper import IndexKeeper
from knowledge.report import IngestReport, Progress
from knowledge.store import DocumentStore, EmbeddedChunk, KnownDocument, Place

BUNDLED = "bundled"
"""Collection of the project's own documents."""
DOCUMENTS = "documents"
"""Collection of what an operator adds."""
EMBED_BATCH = 64
"""Chunks embedded before a request to stop is looked for."""


def bundled_documents() -> list[Path]:
    """Give the project's own documents: its README and what lies in docs/, but for the tables of measurements."""
    candidates = (PROJECT_ROOT / "README.md", *sorted((PROJECT_ROOT / "docs").glob("*.md")))
    return [path for path in candidates if path.is_file() and path.name != "benchmarks.md"]


def index_folder(settings: Settings) -> Path:
    """Give the folder of the vector index."""
    return settings.data.expanduser().resolve() / "index"


def ingest(
    settings: Settings,
    paths: Iterable[Path],
    progress: Callable[[Progress], None] | None = None,
    *,
    collection: str = DOCUMENTS,
) -> IngestReport:
    """Take files and folders in, from a program of its own; a hub that is running notices.

    What was added from these paths before and is gone now is removed. Blocks.

    Raises: KnowledgeError: the embedding model or the index cannot be used. DatabaseError: the database cannot.
    """
    url = database_url(settings)
    upgrade(url)
    engine = sync_engine(url)
    embedder = Embedder(settings.knowledge, threads=0)
    try:
        embedder.start()
        ingester = Ingester(DocumentStore(engine), embedder, settings.knowledge)
        report = ingester.ingest(paths, progress, collection=collection)
        keeper = IndexKeeper(engine, index_folder(settings), embedder.model)
        keeper.open()
        keeper.save()
        return report
    finally:
        embedder.close()
        engine.dispose()


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
        self._embedder = embedder
        self._max_bytes = settings.max_document_bytes
        self._should_stop = should_stop
        self._computed = computed or {}
        self._chunker = Chunker(embedder.tokenizer_file, settings.chunk_tokens)

    def ingest(
        self,
        paths: Iterable[Path],
        progress: Callable[[Progress], None] | None = None,
        *,
        collection: str = DOCUMENTS,
    ) -> IngestReport:
        """Take files and folders in; a bad file is reported and ends nothing."""
        # Not `resolve`: the operator's own names stay, symbolic links among them.
        given = [Path(os.path.abspath(path.expanduser())) for path in paths]  # noqa: PTH100
        known = self._store.known(collection)
        found = find_files(given, (document.root for document in known.values()))
        below = [path for path in known if any(path.is_relative_to(folder) for folder in given)]
        # What cannot be seen just now, or is of a type that is no longer read, is not gone.
        gone = [known[path] for path in below if not may_exist(path)]
        names = {Path(document.root, document.location) for document in gone}
        found = [entry for entry in found if entry.path not in names]
        return self._work(found, gone, known, collection, progress)

    def keep_bundled(self, wanted: Sequence[Path]) -> IngestReport:
        """Make the collection of the project's own documents exactly these."""
        known = self._store.known(BUNDLED)
        found = [Found(root=PROJECT_ROOT, path=path) for path in wanted]
        gone = [document for path, document in known.items() if path not in set(wanted)]
        return self._work(found, gone, known, BUNDLED, None)

    def embed_again(self) -> int:
        """Embed what another embedding model had embedded; the files are not needed for it.

        Returns: how many documents there were.
        """
        count = 0
        for document_id in self._store.of_other_models(self._embedder.model):
            title, chunks = self._store.chunks_of(document_id)
            embedded = self._embed(title, chunks)
            if embedded is None:
                break
            self._store.replace_chunks(document_id, embedded, self._embedder.model)
            count += 1
        return count

    def _work(
        self,
        found: Sequence[Found],
        gone: Sequence[KnownDocument],
        known: Mapping[Path, KnownDocument],
        collection: str,
        progress: Callable[[Progress], None] | None,
    ) -> IngestReport:
        report = IngestReport(total=len(found) + len(gone), progress=progress)
        for entry in found:
            if self._should_stop() or not self._take(entry, known.get(entry.path), collection, report):
                return report
        for document in gone:
            self._store.remove(document.id)
            report.note(document.location, "removed")
        report.complete = True
        return report

    def _take(self, entry: Found, old: KnownDocument | None, collection: str, report: IngestReport) -> bool:
        """Deal with one file; False when it was stopped."""
        place = Place(collection=collection, root=entry.root, location=entry.location)
        try:
            document = self._read(entry, old)
            chunks = self._chunker.split(document) if document else []
        except KnowledgeError as error:
            report.note(entry.location, "failed", str(error))
            return True
        if document is None:
            if old and old.root != entry.root:
                self._store.move(old.id, place)
            report.note(entry.location, "unchanged")
            return True
        embedded = self._embed(document.title, chunks)
        if embedded is None:
            return False
        self._store.put(place, document, embedded, self._embedder.model, old=old.id if old else None)
        report.chunks += len(embedded)
        report.note(entry.location, "replaced" if old else "added")
        return True

    def _read(self, entry: Found, old: KnownDocument | None) -> Document | None:
        """Read a file; None when it is as the database knows it."""
        if entry.problem:
            raise KnowledgeError(entry.problem)
        data = parsing.load(entry.path, self._max_bytes)
        if old and (old.version, old.model) == (parsing.version_of(data), self._embedder.model):
            return None
        return parsing.parse(data, entry.path.name)

    def _embed(self, title: str, chunks: Sequence[Chunk]) -> list[EmbeddedChunk] | None:
        """Embed what has no embedding yet; None when it was stopped."""
        texts = [chunk.embedded_text(title) for chunk in chunks]
        hashes = [text_hash(text) for text in texts]
        vectors = {digest: self._computed[digest] for digest in hashes if digest in self._computed}
        vectors |= self._store.embeddings(set(hashes) - vectors.keys(), self._embedder.model)
        missing = {digest: text for digest, text in zip(hashes, texts, strict=True) if digest not in vectors}
        left = list(missing.items())
        for start in range(0, len(left), EMBED_BATCH):
            if self._should_stop():
                return None
            part = left[start : start + EMBED_BATCH]
            rows = self._embedder.encode([text for _, text in part])
            vectors.update(
                (digest, row.astype("<f4").tobytes()) for (digest, _), row in zip(part, rows, strict=True)
            )
        return [
            EmbeddedChunk(chunk=chunk, text_hash=digest, embedding=vectors[digest])
            for chunk, digest in zip(chunks, hashes, strict=True)
        ]
