"""The bundled model, with what it was asked and what it said in its own words."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from engine.models.base import (
    ANYBODY,
    ChatMessage,
    GenerateEvent,
    GenerateOptions,
    ModelStatistics,
    Prompt,
    Requester,
    Text,
)
from engine.models.llama.model import LlamaChatModel


class RecordingModel:
    """Hands everything on to a model, and keeps it."""

    def __init__(self, model: LlamaChatModel) -> None:
        self._model = model
        self.name = model.name
        self.context_length = model.context_length
        self.prompts: list[Prompt] = []
        self.said: list[str] = []

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count as the model does."""
        return self._model.count_tokens(messages)

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Let the model say something."""
        self.prompts.append(prompt)
        self.said.append("")
        async with aclosing(self._model.stream(prompt, options, requester)) as events:
            async for event in events:
                if isinstance(event, Text):
                    self.said[-1] += event.text
                yield event

    async def statistics(self) -> ModelStatistics:
        """Tell what the model does."""
        return await self._model.statistics()

    async def close(self) -> None:
        """Leave the model to whoever opened it."""
