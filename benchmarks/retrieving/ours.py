"""The hub's own retrieval over a corpus: its chunks, its database, its index, its measures."""

import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.retrieving.corpora import Corpus
from hub.database import database_url, sync_engine, upgrade
from hub.documents.markdown import Section
from hub.documents.parsing import Document
from hub.settings import Settings
from knowledge.chunks import Chunker
from knowledge.contextual import embed_chunks
from knowledge.embedder import Embedder
from knowledge.index.homes import index_home
from knowledge.index.keeper import IndexKeeper
from knowledge.ranking import Measures, Weights, weighed
from knowledge.reading import ReadDocument
from knowledge.retrieval import POOL, Finder, Ordering
from knowledge.store import DocumentStore, EmbeddedChunk, Place
from knowledge.visibility import Visibility


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The candidates of one question."""

    measures: Measures
    owners: NDArray[np.int64]
    """Section of each candidate."""
    wanted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What the hub finds in a corpus, before it is weighed."""

    asked: tuple[Asked, ...]
    took_ms: tuple[float, ...]
    """For each question, beside its embedding: candidates, measures and the passages."""

    def ranks(self, weights: Weights) -> NDArray[np.int64]:
        """Give the place of the right section for every question, from 1; a section that is no candidate comes last."""
        return np.array([_rank(one, weights) for one in self.asked])


def search(corpus: Corpus, embedder: Embedder, vectors: NDArray[np.float32], folder: Path) -> Searched:
    """Take a corpus into a knowledge base of its own and ask every question."""
    settings = Settings(data=folder)
    url = database_url(settings)
    upgrade(url)
    engine = sync_engine(url)
    try:
        _take_in(corpus, DocumentStore(engine), embedder, settings)
        keeper = IndexKeeper(engine, index_home(settings, embedder.model), embedder.model)
        keeper.open()
        finder = Finder(engine, keeper, Visibility(engine), Ordering())
        asked, took_ms = [], []
        for (question, wanted), vector in zip(corpus.questions, vectors, strict=True):
            candidates, measures = finder.measured(question, vector, POOL)
            owners = np.array([int(candidate.location) for candidate in candidates])
            asked.append(Asked(measures=measures, owners=owners, wanted=wanted))
            began = time.perf_counter()
            finder.find(question, vector, 5)
            took_ms.append((time.perf_counter() - began) * 1000)
        return Searched(asked=tuple(asked), took_ms=tuple(took_ms))
    finally:
        engine.dispose()


def _take_in(corpus: Corpus, store: DocumentStore, embedder: Embedder, settings: Settings) -> None:
    chunker = Chunker(embedder.tokenizer_file, settings.knowledge.chunk_tokens)
    parsed = [
        Document(
            title=part.title,
            media_type="text/plain",
            # Its own heading, the last of the path, is withheld: it is the question.
            sections=(Section(heading=f"{part.above} > ", text=part.text),),
            version=sha256(part.text.encode()).hexdigest(),
            size_bytes=len(part.text),
        )
        for part in corpus.parts
    ]
    chunks = [chunker.split(document) for document in parsed]
    documents = [
        ReadDocument(
            title=document.title,
            media_type=document.media_type,
            version=document.version,
            size_bytes=document.size_bytes,
            chunks=tuple((chunk.heading, chunk.text) for chunk in own),
        )
        for document, own in zip(parsed, chunks, strict=True)
    ]
    texts = {
        text.digest: text
        for document, own in zip(documents, chunks, strict=True)
        for text in (chunk.embedded(document.title) for chunk in own)
    }
    rows = dict(zip(texts, embed_chunks(embedder, list(texts.values())), strict=True))
    for position, (document, own) in enumerate(zip(documents, chunks, strict=True)):
        embedded = []
        for chunk in own:
            digest = chunk.embedded(document.title).digest
            embedded.append(
                EmbeddedChunk(chunk=chunk, text_hash=digest, embedding=rows[digest].astype("<f4").tobytes())
            )
        place = Place(collection="documents", root="/", location=str(position))
        store.put(place, document, embedded, embedder.model, old=None)


def _rank(one: Asked, weights: Weights) -> int:
    scores = weighed(one.measures, weights)
    best: dict[int, float] = {}
    for owner, score in zip(one.owners.tolist(), scores.tolist(), strict=True):
        best[owner] = max(score, best.get(owner, -np.inf))
    if one.wanted not in best:
        return 1_000_000
    return sum(score >= best[one.wanted] for score in best.values())
