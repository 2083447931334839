"""The contract between retrieval and the engine: a question goes in, passages with their origin come out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from knowledge.audience import ANYONE, PUBLIC, Reader

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A chunk of a document that was found for a question."""

    chunk_id: int
    title: str
    """Title of the document."""
    location: str
    """Path or URL of the document, relative to where it was added from."""
    heading: str
    """Heading path of the chunk, outermost first, joined by ` > `; empty where the document has none."""
    text: str
    version: str
    """Content hash of the document, as it was when the chunk was made."""
    score: float
    """Cosine similarity to the question, -1 to 1."""
    audience: str = PUBLIC
    """Who may read it, as `knowledge.audience` writes it."""


class Retriever(Protocol):
    """Finds passages; never blocks the event loop."""

    async def search(self, question: str, k: int, reader: Reader = ANYONE) -> list[Passage]:
        """Find the passages nearest to a question, among those that its reader may see.

        Returns: at most `k` passages, best first.
        Raises: KnowledgeError: the index or the embedding model cannot be read.
        """

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Turn texts into unit vectors.

        Returns: float32, shape (len(texts), dimension), each row of length 1.
        """
