"""Embeds chunks in their context: the words say most, title and the headings above a little.

A title that stands in front of every chunk of a document makes them all alike. Embedded apart, once for each section,
it leads to the right document and leaves the choice of the passage to the words.
"""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from knowledge.chunks import EmbeddedText
from knowledge.embedder import Embedder
from knowledge.passages import Vectors

CONTEXT_WEIGHT = 0.2
"""Measured over the documentation of eleven programs (`benchmarks.retrieval`): from 0 to 0.3 all is well, above it passages
of one document become hard to tell apart."""
MAX_REMEMBERED = 1_000
"""Embedded contexts that are remembered: 1.5 MB."""


class ChunkEmbedder:
    """Turns chunks into vectors; blocks."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._contexts: OrderedDict[str, Vectors] = OrderedDict()

    def encode(self, texts: Sequence[EmbeddedText]) -> Vectors:
        """Embed chunks.

        Returns: float32, shape (len(texts), dimension), each row of length 1.
        Raises: KnowledgeError: the model cannot be loaded, or is being closed.
        """
        fresh = sorted({text.context for text in texts} - self._contexts.keys() - {""})
        rows = self._embedder.encode([*(text.text for text in texts), *fresh])
        words = rows[: len(texts)]
        self._contexts |= dict(zip(fresh, rows[len(texts) :], strict=True))
        nothing = np.zeros(rows.shape[1], np.float32)
        contexts = [self._contexts.get(text.context, nothing) for text in texts]
        vectors = words + np.float32(CONTEXT_WEIGHT) * np.reshape(contexts, words.shape)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        while len(self._contexts) > MAX_REMEMBERED:
            self._contexts.popitem(last=False)
        return vectors
