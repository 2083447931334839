"""Chunks embedded in their context, by the real model."""

import numpy as np

from knowledge.chunks import EmbeddedText
from knowledge.contextual import CONTEXT_WEIGHT, embed_chunks, plain_texts
from knowledge.embedder import Embedder


def test_context_moves_a_vector_a_little(embedder: Embedder) -> None:
    """A chunk's vector is that of its words, moved towards its context by a fixed weight."""
    words, context = embedder.encode(["It opens at nine.", "Library"])

    (vector,) = embed_chunks(embedder, [EmbeddedText("It opens at nine.", "Library")])

    wanted = words + CONTEXT_WEIGHT * context
    assert np.allclose(vector, wanted / np.linalg.norm(wanted), atol=1e-5)
    assert vector @ context > words @ context


def test_without_context_the_words_stand_alone(embedder: Embedder) -> None:
    """Nothing is added where nothing is known."""
    (vector,) = embed_chunks(embedder, [EmbeddedText("It opens at nine.", "")])

    assert np.allclose(vector, embedder.encode(["It opens at nine."])[0], atol=1e-5)


def test_context_tells_the_same_words_apart(embedder: Embedder) -> None:
    """The question's subject may stand in the title alone."""
    library, canteen = embed_chunks(
        embedder, [EmbeddedText("It opens at nine.", "Library"), EmbeddedText("It opens at nine.", "Canteen")]
    )
    question = embedder.encode(["Where can I borrow books?"])[0]

    assert library @ question > canteen @ question


def test_each_context_is_embedded_once() -> None:
    """A model is asked for the words of every chunk, and for the place of many at once."""
    texts = [EmbeddedText("a", "Library"), EmbeddedText("b", ""), EmbeddedText("c", "Library")]

    assert plain_texts(texts) == ["a", "b", "c", "Library"]


def test_no_chunks_have_no_vectors(embedder: Embedder) -> None:
    """An empty document is no error."""
    assert embed_chunks(embedder, []).shape == (0, 384)
