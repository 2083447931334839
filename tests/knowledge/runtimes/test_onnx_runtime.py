"""Whole numbers of 8 bits on ONNX Runtime: near to PyTorch's vectors, and the same whatever else is computed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hub.errors import KnowledgeError
from hub.settings import KnowledgeSettings
from knowledge.embedder import Embedder
from knowledge.passages import Vectors
from knowledge.precomputed import bundled_texts
from knowledge.runtimes import onnx_runtime
from knowledge.runtimes.bert_folder import read_bert
from knowledge.runtimes.bert_graph import bert_graph
from knowledge.runtimes.onnx_runtime import OnnxRuntime

TEXTS = [
    "cats purr",
    "",
    "a",
    "The stock market fell sharply today after the news. " * 20,
    "🦆 Ärger mit Ümläuten, 漢字 and \x00 controls",
    "def close(self) -> None:\n    self._thread.shutdown(wait=True, cancel_futures=True)",
]


@pytest.fixture(scope="module")
def exact() -> Iterator[Embedder]:
    """Give the bundled model computed by PyTorch with numbers of 32 bits."""
    model = Embedder(KnowledgeSettings(embedding_runtime="torch"))
    yield model
    model.close()


@pytest.fixture(scope="module")
def whole(exact: Embedder) -> OnnxRuntime:
    """Give the bundled model computed by ONNX Runtime."""
    return OnnxRuntime.open(read_bert(exact.folder), cores=1)


def cosines(one: Vectors, other: Vectors) -> list[float]:
    """Give the cosine of each row to the other's."""
    return [float(cosine) for cosine in (one * other).sum(axis=1)]


def test_vectors_are_near_those_of_pytorch(exact: Embedder, whole: OnnxRuntime) -> None:
    """Texts of all lengths and kinds lose little to 8 bits."""
    vectors = whole.encode(TEXTS)

    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), whole.dimension)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    found = dict(zip(TEXTS, cosines(vectors, exact.encode(TEXTS)), strict=True))
    assert found.pop("") > 0.97
    assert min(found.values()) > 0.99


def test_documents_are_found_as_well_as_with_pytorch(embedder: Embedder, exact: Embedder) -> None:
    """Of the project's own documents, headings that are questions lead to the same places."""
    texts = bundled_texts(exact, KnowledgeSettings()).values()
    split = [text.text.partition("?\n") for text in texts]
    asked = [
        (head.rpartition(" > ")[2].rpartition("\n")[2] + "?", body) for head, mark, body in split if mark
    ]
    # Of a long section there are several passages; each of them is right.
    questions, bodies = zip(*asked[::3], strict=True)

    def right(model: Embedder) -> int:
        best = (model.encode(questions) @ model.encode(bodies).T).argmax(axis=1)
        return sum(questions[row] == question for row, question in zip(best, questions, strict=True))

    assert len(questions) > 20
    assert right(embedder) >= right(exact) - 2
    assert right(embedder) > len(questions) / 2


def test_a_text_has_one_vector_whatever_its_batch(whole: OnnxRuntime) -> None:
    """Neighbours change nothing but the padding, and padding changes nothing."""
    together = whole.encode(TEXTS)
    alone = np.concatenate([whole.encode([text]) for text in TEXTS])

    assert np.allclose(together, alone, atol=1e-5)


def test_both_kinds_of_weights_give_the_same_vectors(exact: Embedder, whole: OnnxRuntime) -> None:
    """Processors that multiply signed bytes and those that do not can share one index."""
    bert = read_bert(exact.folder)

    kinds = [OnnxRuntime.open(bert, cores=1, signed=signed).encode(TEXTS) for signed in (True, False)]

    assert np.allclose(kinds[0], kinds[1], atol=1e-5)
    assert np.allclose(kinds[0], whole.encode(TEXTS), atol=1e-5)


def test_two_cores_give_the_same_vectors(exact: Embedder, whole: OnnxRuntime) -> None:
    """How the work is shared changes nothing that counts."""
    shared = OnnxRuntime.open(read_bert(exact.folder), cores=2)

    assert np.allclose(shared.encode(TEXTS), whole.encode(TEXTS), atol=1e-5)


def test_first_token_is_the_vector_where_the_model_says_so(exact: Embedder, tmp_path: Path) -> None:
    """A model with another pooling is computed by its own, as PyTorch does."""
    folder = Path(shutil.copytree(exact.folder, tmp_path / "first"))
    pooling = folder / "1_Pooling" / "config.json"
    fields = json.loads(pooling.read_text())
    pooling.write_text(
        json.dumps(fields | {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True})
    )
    settings = [
        KnowledgeSettings(embedding_model=str(folder), embedding_runtime=runtime)
        for runtime in ("torch", "onnx")
    ]
    models = [Embedder(one) for one in settings]

    vectors = [model.encode(TEXTS) for model in models]

    for model in models:
        model.close()
    assert [model.model for model in models] == [
        exact.model.replace("all-MiniLM-L6-v2", "first"),
        exact.model.replace("all-MiniLM-L6-v2", "first") + "+int8",
    ]
    assert min(cosines(*vectors)) > 0.98
    assert max(cosines(vectors[1], exact.encode(TEXTS))) < 0.95


@pytest.mark.parametrize(
    "missing", ["embeddings.word_embeddings.weight", "encoder.layer.5.output.dense.bias"]
)
def test_missing_weights_are_an_error(exact: Embedder, missing: str) -> None:
    """A graph with a hole is not written."""
    weights = load_file(exact.folder / "model.safetensors")
    del weights[missing]

    with pytest.raises(KeyError, match=missing):
        bert_graph(read_bert(exact.folder), weights, signed=True)


@pytest.mark.parametrize("kind", ["empty", "cut", "narrow"])
def test_damaged_weights_are_an_error_at_every_use(exact: Embedder, tmp_path: Path, kind: str) -> None:
    """What cannot be loaded says so, and may be tried again."""
    folder = Path(shutil.copytree(exact.folder, tmp_path / "damaged"))
    file = folder / "model.safetensors"
    if kind == "narrow":
        weights = load_file(file)
        weights["encoder.layer.0.output.dense.weight"] = np.ones((384, 7), np.float32)
        file.unlink()
        save_file(weights, file)
    else:
        file.write_bytes(file.read_bytes()[: 0 if kind == "empty" else 1_000_000])
    broken = Embedder(KnowledgeSettings(embedding_model=str(folder), embedding_runtime="onnx"))

    for _ in range(2):
        with pytest.raises(KnowledgeError, match="cannot be loaded"):
            broken.encode(["text"])
    broken.close()


@pytest.mark.parametrize(
    ("flags", "signed"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512_vnni sse\nbugs : none", True),
        ("flags\t\t: fpu avx_vnni\nflags\t\t: fpu avx_vnni", True),
        ("flags\t\t: fpu avx2 avx512f\nvmx flags : avx_vnni", False),
        ("Features : fp asimd asimddp", False),
        ("", False),
        (None, False),
    ],
)
def test_processor_says_how_it_multiplies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str | None, signed: bool
) -> None:
    """Only one that is known to multiply signed bytes without overflow is given them."""
    file = tmp_path / "cpuinfo"
    if flags is not None:
        file.write_text(flags)
    monkeypatch.setattr(onnx_runtime, "_CPU_FLAGS", file)

    assert onnx_runtime.multiplies_signed() is signed
