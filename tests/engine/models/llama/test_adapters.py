"""LoRA adapters on the bundled model."""

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.models.llama.adapters import load_adapter, set_adapters
from engine.models.llama.weights import LlamaWeights
from hub.errors import ModelError
from hub.model_settings import AdapterSettings, GgufSettings
from tests.gguf_files import write_gguf
from tests.gguf_lora import Lora


@pytest.fixture(scope="module")
def weights() -> Iterator[LlamaWeights]:
    """Return the bundled model, loaded for these tests."""
    weights = LlamaWeights.open(GgufSettings())
    yield weights
    weights.release()


@pytest.fixture
def context(weights: LlamaWeights) -> Iterator[Any]:
    """Return a small context."""
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = 256
    parameters.n_threads = parameters.n_threads_batch = 1
    context = llama_cpp.llama_init_from_model(weights.pointer, parameters)
    yield context
    llama_cpp.llama_free(context)


def _logits(weights: LlamaWeights, context: Any, *files: tuple[Path, float]) -> NDArray[np.float32]:
    """Return what follows a text, with these adapters at these scales."""
    settings = [AdapterSettings(path=str(path), scale=scale) for path, scale in files]
    set_adapters(context, [load_adapter(weights.pointer, one) for one in settings])
    tokens = weights.vocabulary.tokenize("The capital of France is", is_template=False)
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    array = tokens.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
    assert llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(tokens))) == 0
    row = llama_cpp.llama_get_logits_ith(context, -1)
    return np.ctypeslib.as_array(row, shape=(weights.vocabulary.size,)).copy()


def _apart(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.abs(one - other).max())


def test_an_adapter_counts_by_its_scale(weights: LlamaWeights, context: Any, tmp_path: Path) -> None:
    """Scale 0 is the model alone, scale 1 another model, and without adapters all is as before."""
    file = Lora.random(1).write(tmp_path / "a.gguf")
    alone = _logits(weights, context)

    assert _apart(_logits(weights, context, (file, 0.0)), alone) == 0
    assert _apart(_logits(weights, context, (file, 1.0)), alone) > 1
    assert _apart(_logits(weights, context), alone) == 0


def test_two_adapters_add_up(weights: LlamaWeights, context: Any, tmp_path: Path) -> None:
    """Two at once compute what one does that holds both."""
    one, two = Lora.random(1), Lora.random(2)
    first, second = one.write(tmp_path / "1.gguf"), two.write(tmp_path / "2.gguf")
    both = (one + two).write(tmp_path / "both.gguf")

    together = _logits(weights, context, (first, 1.0), (second, 1.0))

    assert _apart(together, _logits(weights, context, (both, 1.0))) < 0.05
    assert _apart(together, _logits(weights, context, (first, 1.0))) > 0.3


def test_an_adapter_that_does_not_fit_is_named(weights: LlamaWeights, tmp_path: Path) -> None:
    """Missing, no GGUF, cut off, for another model or no adapter at all: the error says which file."""
    lora = Lora.random(1)
    whole = lora.write(tmp_path / "whole.gguf").read_bytes()
    narrow = Lora({0: (np.ones((4, 64), np.float32), np.ones((64, 4), np.float32))})
    half = {"blk.0.attn_q.weight.lora_a": np.ones((4, 576), np.float32)}
    metadata = {"general.type": "adapter", "general.architecture": "llama", "adapter.type": "lora"}
    (tmp_path / "junk.gguf").write_bytes(b"junk")
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "head.gguf").write_bytes(whole[:100])
    files = [
        lora.write(tmp_path / "other.gguf", architecture="gemma"),
        lora.write(tmp_path / "model.gguf", kind="model"),
        narrow.write(tmp_path / "narrow.gguf"),
        write_gguf(tmp_path / "half.gguf", metadata, half),
        *(tmp_path / f"{name}.gguf" for name in ("missing", "junk", "cut", "head")),
        tmp_path,
    ]

    for file in files:
        with pytest.raises(ModelError, match=f"adapter {file}"):
            load_adapter(weights.pointer, AdapterSettings(path=str(file)))
