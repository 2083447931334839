"""An assistant put together as the engine does it."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from engine.models.base import ChatModel
from engine.turn import Assistant
from hub.errors import ModelUnavailable
from hub.model_registry import ModelRegistry
from hub.model_settings import GgufSettings
from hub.settings import EngineSettings, KeySettings, KnowledgeSettings, Settings
from knowledge.passages import Retriever


class LoadedModels:
    """Models that are there already, by name; the first one is the default."""

    def __init__(self, models: Mapping[str, ChatModel], *, profile: str = "smollm2") -> None:
        self._models = dict(models)
        names = list(models)
        self.registry = ModelRegistry(
            Settings(
                _env_file=None,
                data=Path("nowhere"),
                models={name: GgufSettings(profile=profile) for name in names},
                engine=EngineSettings(model=names[0]),
            )
        )

    @contextlib.asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[ChatModel]:
        """Give a model."""
        name = self.registry.resolve(name)
        if name not in self._models:
            raise ModelUnavailable(f"model {name} cannot be loaded")
        yield self._models[name]


def make_assistant(
    model: ChatModel,
    retriever: Retriever,
    others: Mapping[str, ChatModel] | None = None,
    *,
    profile: str = "smollm2",
) -> Assistant:
    """Answer with a model and a retriever under default settings."""
    return Assistant(
        LoadedModels({model.name: model, **(others or {})}, profile=profile),
        retriever,
        engine=EngineSettings(),
        knowledge=KnowledgeSettings(),
        tiers=KeySettings().tiers,
    )
