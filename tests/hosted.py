"""Models in processes of their own, for tests."""

import contextlib
from collections.abc import AsyncIterator

from engine.models.base import ChatModel
from engine.models.process import ModelProcess
from engine.models.registry import MODEL_TYPES
from hub.logs import LogSettings
from hub.model_settings import LocalModelSettings


@contextlib.asynccontextmanager
async def hosted(settings: LocalModelSettings, name: str = "small") -> AsyncIterator[ChatModel]:
    """Run one model in a process as the engine does."""
    model_type = MODEL_TYPES[getattr(settings, "type", "gguf")]
    assert model_type.load_tokenizer
    process = await ModelProcess.start(LogSettings())
    try:
        yield await process.load(name, settings, model_type.load_tokenizer)
    finally:
        await process.close()
