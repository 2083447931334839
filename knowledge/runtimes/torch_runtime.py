"""Computes any sentence-transformers model by PyTorch, with numbers of 32 bits."""

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from knowledge.imports import import_sentence_transformers
from knowledge.passages import Vectors


class TorchRuntime:
    """A `SentenceTransformer`."""

    def __init__(self, model: Any) -> None:
        self.dimension = int(model.get_embedding_dimension())
        self._model = model

    @classmethod
    def open(cls, folder: Path, *, cores: int) -> "TorchRuntime":
        """Load a model, in the thread that will use it."""
        if cores != 1:
            # Read when PyTorch is imported: cores that wait for each other shall sleep, or beside a busy hub
            # most of their time goes into waiting.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        model_class = import_sentence_transformers()
        if cores:
            # For this thread alone; other models in this process keep their own number.
            import_module("torch").set_num_threads(cores)
        model = model_class(str(folder), device="cpu", local_files_only=True)
        model.eval()
        return cls(model)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See `Runtime`."""
        return np.asarray(
            self._model.encode(
                list(texts), batch_size=len(texts), normalize_embeddings=True, show_progress_bar=False
            ),
            np.float32,
        )
