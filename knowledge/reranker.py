"""Sorts the best passages anew by a cross-encoder, which reads question and passage together; off by default."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from hub.errors import KnowledgeError
from knowledge.imports import import_sentence_transformers

log = structlog.get_logger(__name__)

BATCH = 8
"""Pairs per pass: a search that waits for another one waits for a single pass at most."""


class Reranker:
    """A cross-encoder of sentence-transformers, on a thread of its own; it is loaded by the first question."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        """Find the model.

        Args:
            threads: cores to read with, 0 for all.

        Raises: KnowledgeError: there is no model in the folder.
        """
        weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
        if not weights or not (folder / "config.json").is_file():
            raise KnowledgeError(f"re-ranker {folder}: expected config.json and weights in it")
        digest = hashlib.sha256(b"".join(_sha256(file) for file in weights)).hexdigest()
        self.model = f"{folder.name}@{digest[:12]}"
        """Name and weights' hash."""
        self._folder = folder
        self._cores = threads
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reranker")
        self._loaded: Any = None

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """Tell how well each text answers a question; blocks.

        Returns: one number for each text, of no fixed range; a higher one is better.
        Raises: KnowledgeError: the model cannot be loaded, or is being closed.
        """
        found: list[float] = []
        try:
            for start in range(0, len(texts), BATCH):
                pairs = [(question, text) for text in texts[start : start + BATCH]]
                found += self._thread.submit(self._predict, pairs).result()
        except (RuntimeError, CancelledError) as error:
            raise KnowledgeError(f"passages cannot be sorted anew: {error}") from error
        return found

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _predict(self, pairs: list[tuple[str, str]]) -> list[float]:
        if self._loaded is None:
            self._loaded = self._load()
        scores = np.asarray(
            self._loaded.predict(pairs, batch_size=BATCH, show_progress_bar=False), np.float64
        )
        if scores.shape != (len(pairs),) or not np.isfinite(scores).all():
            raise KnowledgeError(f"re-ranker {self._folder}: expected one score for each passage")
        return [float(score) for score in scores]

    def _load(self) -> Any:
        try:
            import_sentence_transformers()
            if self._cores:
                import_module("torch").set_num_threads(self._cores)
            model = import_module("sentence_transformers").CrossEncoder(
                str(self._folder), device="cpu", local_files_only=True
            )
        except Exception as error:
            # A damaged file makes the libraries raise errors of many kinds, some with no common base.
            raise KnowledgeError(f"re-ranker {self._folder} cannot be loaded: {error}") from error
        log.info("reranker_loaded", model=self.model)
        return model


def _sha256(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()
