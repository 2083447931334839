"""A chat model from a folder in the Hugging Face format: any number of requests at once, computed by transformers."""

from functools import partial

from engine.models.hf_folder import open_folder, read_fields
from engine.models.hf_tokenizer import HuggingFaceTokenizer
from engine.models.stepped_model import SteppedChatModel
from engine.models.stepping import Computer
from hub.model_settings import SafetensorsSettings


class TransformersChatModel(SteppedChatModel):
    """Runs any causal language model that transformers knows, or whose own code is trusted."""

    @classmethod
    async def load(cls, name: str, settings: SafetensorsSettings) -> "TransformersChatModel":
        """Load a model folder.

        Raises:
            ModelError: it cannot be loaded, or may not be.
            SettingsError: the prompt profile is unknown.
        """
        tokenizer = HuggingFaceTokenizer.load(settings)
        config = read_fields(open_folder(settings.path) / "config.json")
        longest = config.get("max_position_embeddings") or settings.context_length
        model = cls(name, min(settings.context_length, longest), tokenizer)
        await model.open(partial(_open_computer, settings), waiting_tokens=settings.most_waiting_tokens)
        return model


def _open_computer(settings: SafetensorsSettings) -> Computer:
    # Takes seconds, which only those pay who use such a model.
    from engine.models.torch_weights import open_computer  # noqa: PLC0415

    return open_computer(settings)
