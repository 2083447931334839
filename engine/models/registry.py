"""The types of models: how each is loaded and how its tokens are counted; a library is imported when it is needed."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.models.base import ChatModel
from engine.models.templates import PromptTokenizer
from hub.errors import SettingsError
from hub.model_settings import GgufSettings, ModelSettings, OnnxSettings, RemoteSettings, SafetensorsSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelType:
    """One `type` of the registry."""

    load: Callable[[str, Any], Awaitable[ChatModel]]
    """Takes the model's name and settings."""
    load_beside: Callable[[str, Any, ChatModel], Awaitable[ChatModel]] | None = None
    """Takes also a model of the same file or folder that this process holds, to compute with its weights."""
    load_tokenizer: Callable[[Any], PromptTokenizer] | None = None
    """Gives what counts tokens outside the model's own process; None: the model needs no such process."""


async def _load_gguf(name: str, settings: GgufSettings) -> ChatModel:
    from engine.models.llama.model import LlamaChatModel  # noqa: PLC0415

    return await LlamaChatModel.load(name, settings)


async def _load_gguf_beside(name: str, settings: GgufSettings, other: ChatModel) -> ChatModel:
    from engine.models.llama.model import LlamaChatModel  # noqa: PLC0415

    weights = other.weights if isinstance(other, LlamaChatModel) else None
    return await LlamaChatModel.load(name, settings, weights=weights)


def _gguf_tokenizer(settings: GgufSettings) -> PromptTokenizer:
    from engine.models.llama.files import model_file  # noqa: PLC0415
    from engine.models.llama.tokenizer import LlamaTokenizer, open_vocabulary, template_for  # noqa: PLC0415
    from engine.profiles import profile_of  # noqa: PLC0415

    vocabulary = open_vocabulary(model_file(settings))
    return LlamaTokenizer(vocabulary, template_for(vocabulary, profile_of(settings)))


async def _load_safetensors(name: str, settings: SafetensorsSettings) -> ChatModel:
    from engine.models.transformers_model import TransformersChatModel  # noqa: PLC0415

    return await TransformersChatModel.load(name, settings)


async def _load_safetensors_beside(name: str, settings: SafetensorsSettings, other: ChatModel) -> ChatModel:
    from engine.models.transformers_model import TransformersChatModel  # noqa: PLC0415

    shared = other.shared if isinstance(other, TransformersChatModel) else None
    return await TransformersChatModel.load(name, settings, shared=shared)


async def _load_onnx(name: str, settings: OnnxSettings) -> ChatModel:
    from engine.models.onnx_model import OnnxChatModel  # noqa: PLC0415

    return await OnnxChatModel.load(name, settings)


def _folder_tokenizer(settings: SafetensorsSettings | OnnxSettings) -> PromptTokenizer:
    from engine.models.hf_tokenizer import load_tokenizer  # noqa: PLC0415

    return load_tokenizer(settings)


async def _load_remote(name: str, settings: RemoteSettings) -> ChatModel:
    from engine.models.remote import RemoteChatModel  # noqa: PLC0415

    return await RemoteChatModel.load(name, settings)


MODEL_TYPES: dict[str, ModelType] = {
    "gguf": ModelType(load=_load_gguf, load_beside=_load_gguf_beside, load_tokenizer=_gguf_tokenizer),
    "safetensors": ModelType(
        load=_load_safetensors, load_beside=_load_safetensors_beside, load_tokenizer=_folder_tokenizer
    ),
    "onnx": ModelType(load=_load_onnx, load_tokenizer=_folder_tokenizer),
    "remote": ModelType(load=_load_remote),
}


async def load_model(name: str, models: Mapping[str, ModelSettings]) -> ChatModel:
    """Load the model that the settings know by this name, into this process.

    Raises:
        SettingsError: there is no such model.
        ModelError: its file is missing or cannot be used.
    """
    if name not in models:
        raise SettingsError(f"model {name!r} is not in the registry; there are: {', '.join(sorted(models))}")
    settings = models[name]
    return await MODEL_TYPES[settings.type].load(name, settings)
