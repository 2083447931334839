"""An assistant put together as the engine does it."""

from engine.models.base import ChatModel
from engine.profiles import profile_named
from engine.turn import Assistant
from hub.settings import EngineSettings, KnowledgeSettings
from knowledge.passages import Retriever


def make_assistant(model: ChatModel, retriever: Retriever) -> Assistant:
    """Answer with a model and a retriever under default settings."""
    return Assistant(
        model,
        retriever,
        profile=profile_named("smollm2"),
        engine=EngineSettings(),
        knowledge=KnowledgeSettings(),
    )
