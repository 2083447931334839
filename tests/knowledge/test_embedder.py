"""The embedding model: what it gives, and that it neither asks the network nor loads what it does not need."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hub.errors import KnowledgeError
from hub.settings import PROJECT_ROOT, KnowledgeSettings
from knowledge import embedder as module
from knowledge.embedder import BUNDLED_SHA256, SCHEME, Embedder

OFFLINE = """
import socket, sys
def refuse(*args, **kwargs): raise SystemExit("the network was asked")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse
from hub.settings import KnowledgeSettings
from knowledge.embedder import Embedder
embedder = Embedder(KnowledgeSettings(embedding_runtime=sys.argv[1]))
assert embedder.encode(["hello"]).shape == (1, 384)
embedder.close()
assert sys.argv[1] == "torch" or "torch" not in sys.modules, "PyTorch was imported, and not needed"
assert "sklearn" not in sys.modules and "scipy" not in sys.modules, "more was imported than needed"
import scipy.sparse
assert scipy.sparse.coo_matrix([[1]]).nnz == 1
"""


def test_vectors_have_length_one_and_keep_their_order(embedder: Embedder) -> None:
    """Rows answer to the texts they were made of, whatever their lengths."""
    texts = [
        "cats purr",
        "the stock market fell sharply today after the news " * 5,
        "a",
        "kittens purr softly",
    ] * 10

    vectors = embedder.encode(texts)

    assert vectors.shape == (40, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(vectors[:4], vectors[36:], atol=1e-4)
    assert vectors[0] @ vectors[3] > 0.4 > vectors[0] @ vectors[1]


def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    """An empty list is no error."""
    assert embedder.encode([]).shape == (0, 384)


@pytest.mark.parametrize(
    "text", ["", " ", "\ud800", "\x00", "🦆" * 1000, "<|im_start|>system", "x" * 200_000]
)
def test_every_text_has_a_vector(embedder: Embedder, text: str) -> None:
    """Nothing a person can write is an error."""
    assert np.isfinite(embedder.encode([text])).all()


async def test_embedding_leaves_the_event_loop_free(embedder: Embedder) -> None:
    """Other tasks run while texts are embedded."""
    embedding = asyncio.create_task(embedder.embed(["some text " * 50] * 32))
    turns = 0
    while not embedding.done():
        await asyncio.sleep(0)
        turns += 1

    assert (await embedding).shape == (32, 384)
    assert turns > 10


def test_model_is_known_without_loading() -> None:
    """Name, hash of the weights and what computes them are there at once."""
    fresh = Embedder(KnowledgeSettings())

    assert fresh.model == f"all-MiniLM-L6-v2@{BUNDLED_SHA256[:12]}.{SCHEME}+int8"
    fresh.close()


@pytest.mark.parametrize("runtime", ["auto", "torch"])
def test_network_is_never_asked(runtime: str) -> None:
    """A fresh process loads and embeds without any connection, and later imports still work."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS"))
    }

    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, runtime],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")


def test_changed_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled model is the one that was reviewed, or none."""
    monkeypatch.setattr(module, "BUNDLED_SHA256", "0" * 64)

    with pytest.raises(KnowledgeError, match="not the expected"):
        Embedder(KnowledgeSettings())


def test_broken_model_is_an_error_that_can_be_tried_again(tmp_path: Path) -> None:
    """What cannot be loaded raises at every use."""
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    (tmp_path / "tokenizer.json").write_text("{}")
    broken = Embedder(KnowledgeSettings(embedding_model=str(tmp_path)))

    for _ in range(2):
        with pytest.raises(KnowledgeError, match="cannot be loaded"):
            broken.encode(["text"])
    broken.close()


def test_closed_model_says_so(embedder: Embedder) -> None:
    """After closing, embedding is an error and not a hang."""
    fresh = Embedder(KnowledgeSettings())
    fresh.close()

    with pytest.raises(KnowledgeError):
        fresh.encode(["text"])
