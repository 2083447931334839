"""The registry of models: a name from the settings in, a loaded chat model out; never a path of a message."""

from collections.abc import Awaitable, Callable, Mapping

from engine.models.base import ChatModel
from engine.models.llama.model import LlamaChatModel
from hub.errors import SettingsError
from hub.model_settings import ModelSettings

Load = Callable[..., Awaitable[ChatModel]]

MODEL_TYPES: dict[str, Load] = {
    "gguf": LlamaChatModel.load,
}


async def load_model(name: str, models: Mapping[str, ModelSettings]) -> ChatModel:
    """Load the model that the settings know by this name.

    Raises:
        SettingsError: there is no such model.
        ModelError: its file is missing or cannot be used.
    """
    if name not in models:
        raise SettingsError(f"model {name!r} is not in the registry; there are: {', '.join(sorted(models))}")
    settings = models[name]
    return await MODEL_TYPES[settings.type](name, settings)
