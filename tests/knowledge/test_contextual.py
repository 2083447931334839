"""Chunks embedded in their context, by the real model."""

import numpy as np

from knowledge.chunks import EmbeddedText
from knowledge.contextual import CONTEXT_WEIGHT, MAX_REMEMBERED, ChunkEmbedder
from knowledge.embedder import Embedder


def test_context_moves_a_vector_a_little(embedder: Embedder) -> None:
    """A chunk's vector is that of its words, moved towards its context by a fixed weight."""
    words, context = embedder.encode(["It opens at nine.", "Library"])

    (vector,) = ChunkEmbedder(embedder).encode([EmbeddedText("It opens at nine.", "Library")])

    wanted = words + CONTEXT_WEIGHT * context
    assert np.allclose(vector, wanted / np.linalg.norm(wanted), atol=1e-5)
    assert vector @ context > words @ context


def test_without_context_the_words_stand_alone(embedder: Embedder) -> None:
    """Nothing is added where nothing is known."""
    (vector,) = ChunkEmbedder(embedder).encode([EmbeddedText("It opens at nine.", "")])

    assert np.allclose(vector, embedder.encode(["It opens at nine."])[0], atol=1e-5)


def test_context_tells_the_same_words_apart(embedder: Embedder) -> None:
    """The question's subject may stand in the title alone."""
    library, canteen = ChunkEmbedder(embedder).encode(
        [EmbeddedText("It opens at nine.", "Library"), EmbeddedText("It opens at nine.", "Canteen")]
    )
    question = embedder.encode(["Where can I borrow books?"])[0]

    assert library @ question > canteen @ question


def test_more_contexts_than_are_remembered(embedder: Embedder) -> None:
    """Contexts that were forgotten in between are embedded again, with the same result."""
    chunks = ChunkEmbedder(embedder)
    first = chunks.encode([EmbeddedText("words", "Library")])
    many = [EmbeddedText("x", str(number)) for number in range(MAX_REMEMBERED + 1)]

    vectors = chunks.encode(many)
    again = chunks.encode([EmbeddedText("words", "Library")])

    assert vectors.shape == (MAX_REMEMBERED + 1, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(first, again, atol=1e-5)
