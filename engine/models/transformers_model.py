"""A chat model from a folder in the Hugging Face format: any number of requests at once, computed by transformers."""

import asyncio
from typing import TYPE_CHECKING

from engine.models.hardware import ModelSize, with_context
from engine.models.hf_folder import check_safetensors, open_folder
from engine.models.hf_size import safetensors_size
from engine.models.hf_tokenizer import HuggingFaceTokenizer
from engine.models.stepped_model import SteppedChatModel
from engine.models.stepping import Computer
from hub.model_settings import SafetensorsSettings

if TYPE_CHECKING:
    from engine.models.torch_adapters import SharedModel


class TransformersChatModel(SteppedChatModel):
    """Runs any causal language model that transformers knows, or whose own code is trusted.

    Several models can compute with the same weights, each with adapters of its own.
    """

    shared: "SharedModel | None" = None
    """The loaded weights, while this model is open."""

    @classmethod
    async def load(
        cls, name: str, settings: SafetensorsSettings, *, shared: "SharedModel | None" = None
    ) -> "TransformersChatModel":
        """Load a model folder.

        Args:
            shared: its weights, where another model has loaded them already.

        Raises:
            ModelError: it cannot be loaded, or may not be.
            SettingsError: the prompt profile is unknown.
        """
        tokenizer = HuggingFaceTokenizer.load(settings)
        folder = open_folder(settings.path)
        check_safetensors(folder)
        size = safetensors_size(folder, settings)
        settings = await asyncio.to_thread(_with_context, settings, size)
        longest = size.context_length or settings.context_length
        model = cls(name, min(settings.context_length, longest), tokenizer)

        def open_here() -> Computer:
            # Takes seconds, which only those pay who use such a model.
            from engine.models.torch_weights import open_computer, open_model  # noqa: PLC0415

            model.shared = shared or open_model(settings)
            return open_computer(settings, model.shared)

        await model.open(open_here, waiting_tokens=settings.most_waiting_tokens)
        return model

    async def close(self) -> None:
        """Free the model's memory once running answers have ended; weights that others compute with stay."""
        await super().close()
        self.shared = None


def _with_context(settings: SafetensorsSettings, size: ModelSize) -> SafetensorsSettings:
    if settings.context_length:
        return settings
    from engine.models.torch_weights import machine_for  # noqa: PLC0415 - only torch knows its GPUs

    return with_context(settings, size, machine_for(settings))
