"""Embeds chunks in their context: the words say most, title and the headings above a little.

A title that stands in front of every chunk of a document makes them all alike. Embedded apart it leads to the right
document and leaves the choice of the passage to the words.
"""

from collections.abc import Sequence

import numpy as np

from knowledge.chunks import EmbeddedText
from knowledge.embedder import Embedder
from knowledge.passages import Vectors

CONTEXT_WEIGHT = 0.2
"""Measured over the documentation of eleven programs (`benchmarks.retrieval`): from 0 to 0.3 all is well, above it passages
of one document become hard to tell apart."""


def embed_chunks(embedder: Embedder, texts: Sequence[EmbeddedText]) -> Vectors:
    """Turn chunks into vectors; blocks.

    Returns: as `in_context`.
    Raises: KnowledgeError: the model cannot be loaded, or is being closed.
    """
    return in_context(texts, embedder.encode(plain_texts(texts)))


def plain_texts(texts: Sequence[EmbeddedText]) -> list[str]:
    """Give what a model has to embed: the words of each, then their contexts, each once."""
    return [*(text.text for text in texts), *_contexts(texts)]


def in_context(texts: Sequence[EmbeddedText], vectors: Vectors) -> Vectors:
    """Put the vectors of `plain_texts` together.

    Args:
        vectors: shape (len(plain_texts(texts)), dimension).

    Returns: float32, shape (len(texts), dimension), each row of length 1.
    """
    words, contexts = vectors[: len(texts)], dict(zip(_contexts(texts), vectors[len(texts) :], strict=True))
    nothing = np.zeros(vectors.shape[1], np.float32)
    around = np.reshape([contexts.get(text.context, nothing) for text in texts], words.shape)
    moved = words + np.float32(CONTEXT_WEIGHT) * around
    placed: Vectors = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return placed


def _contexts(texts: Sequence[EmbeddedText]) -> list[str]:
    return sorted({text.context for text in texts} - {""})
