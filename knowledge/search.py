"""The knowledge base: what a hub opens at start and asks for passages; it never blocks the event loop."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Self, TypeVar

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from hub.database import database_url, sync_engine, upgrade
from hub.errors import HubError, KnowledgeError
from hub.settings import Settings
from knowledge.audience import ANYONE, Reader
from knowledge.embedder import Embedder
from knowledge.index.homes import index_home
from knowledge.index.keeper import IndexKeeper
from knowledge.ingest import DOCUMENTS, Ingester, bundled_documents
from knowledge.passages import Passage, Vectors
from knowledge.precomputed import precomputed
from knowledge.ranking import WEIGHTS
from knowledge.report import IngestReport, Progress
from knowledge.reranker import Reranker
from knowledge.retrieval import Finder, Ordering
from knowledge.sources.base import Source
from knowledge.store import DocumentInfo, DocumentStore
from knowledge.visibility import Visibility

log = structlog.get_logger(__name__)

T = TypeVar("T")

START_PATIENCE_S = 20.0
"""How long the first questions wait for the project's own documents to be embedded."""
REFRESH_PATIENCE_S = 1.0
"""How long a question waits for changes to reach the index; after that it is answered from what is there."""


class KnowledgeBase:
    """Finds passages (`knowledge.passages.Retriever`).

    Opening returns as soon as the index is there; the embedding model is loaded and the project's own documents
    are embedded in the background, and the first questions wait for both.
    """

    def __init__(self, settings: Settings, *, bundled: Callable[[], list[Path]] = bundled_documents) -> None:
        """Prepare; `open` is the way to get one that is ready."""
        self._settings = settings
        self._bundled = bundled if settings.knowledge.bundled_docs else list
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="knowledge")
        self._closing = Event()
        self._refreshing: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._deadline_s = 0.0
        self._engine: Engine
        self._store: DocumentStore
        self._visibility: Visibility
        self._embedder: Embedder
        self._keeper: IndexKeeper
        self._reranker: Reranker | None = None
        self._finder: Finder

    @classmethod
    async def open(cls, settings: Settings, *, bundled: Callable[[], list[Path]] = bundled_documents) -> Self:
        """Open the database and the index, and begin to load the embedding model.

        Raises: KnowledgeError: the embedding model or the index cannot be used. DatabaseError: the database cannot.
        """
        base = cls(settings, bundled=bundled)
        try:
            await base._run(base._open)
        except BaseException:
            base._threads.shutdown(wait=False)
            raise
        base._deadline_s = asyncio.get_running_loop().time() + START_PATIENCE_S
        started = asyncio.create_task(base._start(), name="knowledge-start")
        base._tasks = [started, asyncio.create_task(base._embed_again(started), name="knowledge-embed-again")]
        return base

    @property
    def version(self) -> int:
        """Counter of changes the answers show."""
        return self._keeper.version

    @property
    def size(self) -> int:
        """How many chunks can be found."""
        return self._keeper.size

    @property
    def ranking(self) -> str:
        """What, beside the documents, the order of passages depends on: models and weights."""
        reranker = self._reranker.model if self._reranker else "no re-ranker"
        return f"{self._embedder.model}, {WEIGHTS}, {reranker}"

    @property
    def background(self) -> list[asyncio.Task[None]]:
        """What was begun at the start: taking in the project's own documents, embedding for another model."""
        return self._tasks

    async def ready(self) -> None:
        """Wait until the model is loaded and the project's own documents are embedded.

        Raises: KnowledgeError: the embedding model cannot be loaded.
        """
        await asyncio.wrap_future(self._embedder.start())
        await asyncio.wait(self._tasks[:1])

    async def current_version(self) -> int:
        """Return `version` once the latest changes have been taken in, as far as a question would wait for them."""
        await self._settle()
        return self._keeper.version

    async def search(self, question: str, k: int, reader: Reader = ANYONE) -> list[Passage]:
        """Find the passages nearest to a question, by meaning and by words, that its reader may see.

        Near duplicates are shown once.
        """
        await self._settle()
        if k < 1 or not question.strip() or not self._keeper.size:
            return []
        vector = (await self.embed([question]))[0]
        return await self._run(lambda: self._finder.find(question, vector, k, reader))

    async def view(self, reader: Reader) -> str:
        """Name what a reader's searches find at this moment; while the name is the same, so is what they find."""
        await self._settle()
        seen = await self._run(lambda: self._visibility.view_of(reader))
        return f"{self._keeper.version} {seen}"

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Turn texts into unit vectors."""
        return await self._run(lambda: self._embedder.encode(texts))

    @property
    def embedding_model(self) -> str:
        """Name of the model that makes the vectors."""
        return self._embedder.model.rpartition("@")[0]

    async def count_tokens(self, texts: Sequence[str]) -> int:
        """Count what texts have for the embedding model, beyond what it reads of each."""
        return await self._run(lambda: self._embedder.count_tokens(texts))

    async def documents(self) -> list[DocumentInfo]:
        """List all documents."""
        return await self._run(self._store.documents)

    async def ingest(
        self,
        paths: Iterable[Path],
        progress: Callable[[Progress], None] | None = None,
        *,
        collection: str = DOCUMENTS,
        audience: str | None = None,
        sources: Sequence[Source] = (),
    ) -> IngestReport:
        """Take documents in, as `Ingester.ingest` does; `progress` is called from another thread."""
        return await self._run(
            lambda: self._ingester().ingest(
                paths, progress, collection=collection, audience=audience, sources=sources
            )
        )

    async def close(self) -> None:
        """Stop what goes on in the background and save the index."""
        self._closing.set()
        await asyncio.wait([*self._tasks, *filter(None, [self._refreshing])])
        try:
            await self._run(self._keeper.save)
        except HubError as error:
            log.error("index_not_saved", reason=str(error))
        await asyncio.to_thread(self._close)

    def _open(self) -> None:
        url = database_url(self._settings)
        upgrade(url)
        self._embedder = Embedder(self._settings.knowledge)
        self._embedder.start()
        self._engine = sync_engine(url)
        self._store = DocumentStore(self._engine)
        self._visibility = Visibility(self._engine)
        model = self._embedder.model
        self._keeper = IndexKeeper(self._engine, index_home(self._settings, model), model)
        self._keeper.open()
        knowledge = self._settings.knowledge
        if knowledge.reranker:
            self._reranker = Reranker(Path(knowledge.reranker).expanduser())
        ordering = Ordering(reranker=self._reranker, rerank_passages=knowledge.rerank_passages)
        self._finder = Finder(self._engine, self._keeper, self._visibility, ordering)

    def _close(self) -> None:
        self._embedder.close()
        if self._reranker:
            self._reranker.close()
        self._threads.shutdown()
        self._engine.dispose()

    def _ingester(self, computed: Mapping[str, bytes] | None = None) -> Ingester:
        settings, should_stop = self._settings.knowledge, self._closing.is_set
        return Ingester(self._store, self._embedder, settings, should_stop=should_stop, computed=computed)

    def _keep_bundled(self) -> IngestReport:
        return self._ingester(precomputed(self._embedder.model)).keep_bundled(self._bundled())

    async def _start(self) -> None:
        try:
            report = await self._run(self._keep_bundled)
            await self._run(self._keeper.refresh)
            await self._run(self._keeper.save)
        except HubError as error:
            log.error("bundled_documents_failed", reason=str(error))
        else:
            log.info("knowledge_ready", chunks=self.size, version=self.version, new_chunks=report.chunks)

    async def _embed_again(self, started: asyncio.Task[None]) -> None:
        await asyncio.wait([started])
        try:
            if count := await self._run(lambda: self._ingester().embed_again()):
                log.info("documents_embedded_again", documents=count, model=self._embedder.model)
        except HubError as error:
            log.error("embedding_again_failed", reason=str(error))

    async def _settle(self) -> None:
        """Let the start and the latest changes reach the index, within limits."""
        left_s = self._deadline_s - asyncio.get_running_loop().time()
        if left_s > 0:
            await asyncio.wait(self._tasks[:1], timeout=left_s)
        if not await self._run(self._keeper.is_stale):
            return
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._take_changes(), name="knowledge-refresh")
        await asyncio.wait([self._refreshing], timeout=REFRESH_PATIENCE_S)

    async def _take_changes(self) -> None:
        try:
            await self._run(self._keeper.refresh)
        except HubError as error:
            log.error("index_not_refreshed", reason=str(error))

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except SQLAlchemyError as error:
            raise KnowledgeError(f"the database of documents cannot be used: {error}") from error
