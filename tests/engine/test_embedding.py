"""The service that embeds texts, with the bundled model."""

import base64
import math
from typing import Any

import numpy as np
import pytest

from engine.embedding import MAX_TEXTS, EmbeddingService
from hub.errors import HubError
from hub.settings import KnowledgeSettings
from knowledge.embedder import BUNDLED_NAME, Embedder


class Bundled:
    """The bundled embedding model, as a knowledge base gives it."""

    def __init__(self) -> None:
        self.embedder = Embedder(KnowledgeSettings())
        self.embedding_model = self.embedder.model.rpartition("@")[0]

    async def embed(self, texts: Any) -> Any:
        """Embed."""
        return await self.embedder.embed(texts)

    async def count_tokens(self, texts: Any) -> int:
        """Count."""
        return self.embedder.count_tokens(texts)


async def test_texts_come_back_as_unit_vectors_in_their_order() -> None:
    """Long and short ones mixed; what they mean decides how near they are."""
    model = Bundled()
    texts = ["cat " * 50, "A cat sleeps.", "The price of oil rose.", "A kitten is sleeping."]

    answer = await EmbeddingService(model).answer({"texts": texts})

    rows = np.stack([np.frombuffer(base64.b64decode(row), "<f4") for row in answer["vectors"]])
    assert (answer["model"], answer["dimension"], rows.shape) == (BUNDLED_NAME, 384, (4, 384))
    assert all(math.isclose(float(length), 1, abs_tol=1e-5) for length in np.linalg.norm(rows, axis=1))
    assert rows[1] @ rows[3] > 0.6 > rows[1] @ rows[2]
    assert answer["tokens"] == 50 + 4 + 6 + 5
    model.embedder.close()


async def test_without_texts_only_the_model_is_told() -> None:
    """Nothing is loaded for that."""
    model = Bundled()

    answer = await EmbeddingService(model).answer({"texts": []})

    assert (answer["model"], answer["vectors"]) == (BUNDLED_NAME, [])
    model.embedder.close()


@pytest.mark.parametrize("request_", [{}, {"texts": "x"}, {"texts": [1]}, {"texts": ["x"] * (MAX_TEXTS + 1)}])
async def test_what_is_no_list_of_texts_is_refused(request_: dict[str, Any]) -> None:
    """The caller is told; the engine goes on."""
    model = Bundled()

    with pytest.raises(HubError, match="texts"):
        await EmbeddingService(model).answer(request_)
    model.embedder.close()
