"""The contract between the embedder and what computes its model."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import structlog

from hub.settings import KnowledgeSettings
from knowledge.passages import Vectors

log = structlog.get_logger(__name__)

ONNX_PACKAGES = ("onnx", "onnxruntime")


class Runtime(Protocol):
    """A loaded model; used by one thread at a time."""

    dimension: int

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Turn texts into unit vectors, all in one pass; blocks.

        Args:
            texts: at least one, without lone surrogates, of like length so that little is padding.

        Returns: float32, shape (len(texts), dimension), each row of length 1.
        """


Open = Callable[[], Runtime]
"""Loads a model; blocks. It may raise anything that a library raises of a file it does not like."""


def chosen(settings: KnowledgeSettings, folder: Path, *, cores: int) -> tuple[str, Open]:
    """Choose what computes a model, without loading it.

    Args:
        cores: to compute with, 0 for all.

    Returns: what the model's name gets behind it, as vectors of two runtimes are never compared, and how to load.
    Raises: KnowledgeError: ONNX Runtime is asked for and cannot compute this model.
    """
    if _by_onnx(settings):
        from knowledge.runtimes.bert_folder import read_bert  # noqa: PLC0415

        bert = read_bert(folder)

        def open_onnx() -> Runtime:
            from knowledge.runtimes.onnx_runtime import OnnxRuntime  # noqa: PLC0415 - not loaded before it is used

            return OnnxRuntime.open(bert, cores=cores)

        return "+int8", open_onnx

    def open_torch() -> Runtime:
        from knowledge.runtimes.torch_runtime import TorchRuntime  # noqa: PLC0415

        return TorchRuntime.open(folder, cores=cores)

    return "", open_torch


def _by_onnx(settings: KnowledgeSettings) -> bool:
    wanted = settings.embedding_runtime
    # What 8 bits cost was measured with the bundled model alone.
    if wanted == "torch" or (wanted == "auto" and settings.embedding_model):
        return False
    if missing := [package for package in ONNX_PACKAGES if find_spec(package) is None]:
        log.warning("onnx_runtime_missing", packages=missing, embedding_runtime="torch")
        return False
    return True
