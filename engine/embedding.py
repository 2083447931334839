"""The service `embed`: texts as vectors of the model the documents are found with."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from hub.errors import HubError
from knowledge.passages import Vectors

MAX_TEXTS = 256


class EmbeddingModel(Protocol):
    """What makes vectors."""

    @property
    def embedding_model(self) -> str:
        """Its name."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Turn texts into unit vectors."""

    async def count_tokens(self, texts: Sequence[str]) -> int:
        """Count the tokens of texts."""


class EmbeddingService:
    """Answers calls for vectors."""

    def __init__(self, model: EmbeddingModel) -> None:
        self._model = model

    async def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Embed texts, in their order; without texts only the model is told.

        Raises: HubError: the request is none.
        """
        match request:
            case {"texts": [*texts]} if len(texts) <= MAX_TEXTS and all(
                isinstance(text, str) for text in texts
            ):
                pass
            case _:
                raise HubError(f"expected at most {MAX_TEXTS} texts")
        if not texts:
            return {"model": self._model.embedding_model, "dimension": 0, "vectors": [], "tokens": 0}
        vectors = np.ascontiguousarray(await self._model.embed(texts), "<f4")
        return {
            "model": self._model.embedding_model,
            "dimension": vectors.shape[1],
            "vectors": [base64.b64encode(row.tobytes()).decode() for row in vectors],
            "tokens": await self._model.count_tokens(texts),
        }
