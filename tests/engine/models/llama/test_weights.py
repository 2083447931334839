"""Several models that compute with the same weights."""

import asyncio
from pathlib import Path

import pytest

from engine.models.base import Prompt
from engine.models.llama.model import LlamaChatModel
from engine.models.llama.weights import LlamaWeights
from hub.errors import ModelError
from hub.model_settings import AdapterSettings, GgufSettings
from tests.engine.models.llama.asking import answer, small_model
from tests.gguf_lora import Lora

TEXT = Prompt(text="The capital of France is")


async def test_two_models_with_different_adapters_share_their_weights(tmp_path: Path) -> None:
    """Each answers in its own way, at the same time, and the second goes on when the first is closed."""
    file = Lora.random(1).write(tmp_path / "adapter.gguf")
    adapted = GgufSettings(
        context_length=256, parallel=2, adapters=(AdapterSettings(path=str(file), scale=8.0),)
    )
    async with small_model(parallel=2, context_length=256) as plain:
        model = await LlamaChatModel.load("adapted", adapted, weights=plain.weights)
        (said, _), (said_adapted, _) = await asyncio.gather(answer(plain, TEXT), answer(model, TEXT))
        assert model.weights is plain.weights
    again, _ = await answer(model, TEXT)
    await model.close()

    assert said.startswith(" Paris")
    assert said != said_adapted == again


async def test_an_adapter_that_cannot_be_used_leaves_the_others_alone(tmp_path: Path) -> None:
    """Loading fails with its name; the model beside goes on."""
    missing = GgufSettings(adapters=(AdapterSettings(path=str(tmp_path / "missing.gguf")),))
    async with small_model(parallel=2, context_length=256) as plain:
        with pytest.raises(ModelError, match=r"missing\.gguf"):
            await LlamaChatModel.load("broken", missing, weights=plain.weights)

        assert (await answer(plain, TEXT))[0].startswith(" Paris")


def test_weights_are_loaded_until_the_last_holder_lets_go() -> None:
    """Then they cannot be held any more."""
    weights = LlamaWeights.open(GgufSettings())
    weights.hold()
    weights.release()
    assert weights.vocabulary.tokenize("still there", is_template=False).size

    weights.release()

    with pytest.raises(ModelError, match="not loaded any more"):
        weights.hold()
