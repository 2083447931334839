"""Embeds documents and writes them down: many are embedded together, each is stored in a transaction of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hub.errors import KnowledgeError
from knowledge.chunks import Chunk, EmbeddedText
from knowledge.contextual import embed_chunks
from knowledge.embedder import Embedder
from knowledge.reading import ReadDocument
from knowledge.report import IngestReport
from knowledge.store import DocumentStore, EmbeddedChunk, Place

GROUP_CHUNKS = 128
"""Chunks without an embedding that are waited for, so that those of like length are embedded together."""
EMBED_BATCH = 64
"""Chunks embedded before a request to stop is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A document that is not stored yet."""

    place: Place
    document: ReadDocument
    source_version: str
    old: int | None
    """Id of the document it takes the place of."""
    chunks: Sequence[Chunk]
    hashes: Sequence[str]
    """Of what is embedded of each chunk."""


class Embeddings:
    """Finds embeddings that are there already, and makes those that are not."""

    def __init__(
        self,
        store: DocumentStore,
        embedder: Embedder,
        *,
        should_stop: Callable[[], bool],
        computed: Mapping[str, bytes],
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._should_stop = should_stop
        self._computed = computed

    @property
    def model(self) -> str:
        """The embedding model."""
        return self._embedder.model

    def known(self, hashes: set[str]) -> dict[str, bytes]:
        """Give the embeddings that are there, by the hash of what was embedded."""
        found = {digest: self._computed[digest] for digest in hashes if digest in self._computed}
        return found | self._store.embeddings(hashes - found.keys(), self._embedder.model)

    def of_chunks(self, title: str, chunks: Sequence[Chunk]) -> list[EmbeddedChunk] | None:
        """Embed the chunks of one document, as far as that is not done yet; None when it was stopped."""
        texts = [chunk.embedded(title) for chunk in chunks]
        hashes = [text.digest for text in texts]
        vectors = self.known(set(hashes))
        missing = {digest: text for digest, text in zip(hashes, texts, strict=True) if digest not in vectors}
        made = self.make(missing)
        return None if made is None else with_vectors(chunks, hashes, vectors | made)

    def make(self, texts: Mapping[str, EmbeddedText]) -> dict[str, bytes] | None:
        """Embed texts, by their hashes; None when it was stopped."""
        made: dict[str, bytes] = {}
        # Of like length together, so that little is padding.
        left = sorted(texts.items(), key=lambda pair: len(pair[1].text), reverse=True)
        for start in range(0, len(left), EMBED_BATCH):
            if self._should_stop():
                return None
            part = left[start : start + EMBED_BATCH]
            rows = embed_chunks(self._embedder, [text for _, text in part])
            made.update(
                (digest, row.astype("<f4").tobytes()) for (digest, _), row in zip(part, rows, strict=True)
            )
        return made


class Writer:
    """Takes documents in, and stores them group by group."""

    def __init__(self, store: DocumentStore, embeddings: Embeddings, report: IngestReport) -> None:
        self._store = store
        self._embeddings = embeddings
        self._report = report
        self._waiting: list[Waiting] = []
        self._missing: dict[str, EmbeddedText] = {}
        self._vectors: dict[str, bytes] = {}

    def add(
        self, place: Place, document: ReadDocument, *, source_version: str = "", old: int | None = None
    ) -> bool:
        """Take a document in; False when it was stopped."""
        chunks = document.chunk_list
        texts = [chunk.embedded(document.title) for chunk in chunks]
        hashes = [text.digest for text in texts]
        self._vectors |= self._embeddings.known(set(hashes) - self._vectors.keys())
        self._missing |= {
            digest: text for digest, text in zip(hashes, texts, strict=True) if digest not in self._vectors
        }
        self._waiting.append(
            Waiting(
                place=place,
                document=document,
                source_version=source_version,
                old=old,
                chunks=chunks,
                hashes=hashes,
            )
        )
        # Whatever is known already is stored at once.
        return self.flush() if not self._missing or len(self._missing) >= GROUP_CHUNKS else True

    def flush(self) -> bool:
        """Store what waits; False when it was stopped, and then nothing of it is stored."""
        made = self._embeddings.make(self._missing)
        if made is None:
            return False
        self._vectors |= made
        for waiting in self._waiting:
            self._store_one(waiting)
        self._waiting, self._missing, self._vectors = [], {}, {}
        return True

    def _store_one(self, waiting: Waiting) -> None:
        location = waiting.place.location
        embedded = with_vectors(waiting.chunks, waiting.hashes, self._vectors)
        try:
            self._store.put(
                waiting.place,
                waiting.document,
                embedded,
                self._embeddings.model,
                old=waiting.old,
                source_version=waiting.source_version,
            )
        except KnowledgeError as error:
            self._report.note(location, "failed", str(error))
            return
        self._report.chunks += len(embedded)
        self._report.note(location, "added" if waiting.old is None else "replaced")


def with_vectors(
    chunks: Sequence[Chunk], hashes: Sequence[str], vectors: Mapping[str, bytes]
) -> list[EmbeddedChunk]:
    """Give each chunk its embedding, by the hash of what was embedded."""
    return [
        EmbeddedChunk(chunk=chunk, text_hash=digest, embedding=vectors[digest])
        for chunk, digest in zip(chunks, hashes, strict=True)
    ]
