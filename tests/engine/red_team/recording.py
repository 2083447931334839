"""The bundled model, with what it was asked and what it said in its own words."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from contextvars import ContextVar

from engine.models.base import (
    ANYBODY,
    ChatMessage,
    End,
    GenerateEvent,
    GenerateOptions,
    ModelStatistics,
    Prompt,
    Requester,
    Text,
)
from engine.models.llama.model import LlamaChatModel

SAID: ContextVar[list[str]] = ContextVar("said")
"""What the model says in the present task, request by request."""


class RecordingModel:
    """Hands everything on to a model, and keeps it."""

    def __init__(self, model: LlamaChatModel) -> None:
        self._model = model
        self.name = model.name
        self.context_length = model.context_length
        self.prompts: list[Prompt] = []
        self._heard: dict[str, list[GenerateEvent]] = {}

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count as the model does."""
        return self._model.count_tokens(messages)

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Let the model say something."""
        self.prompts.append(prompt)
        said = SAID.get([])
        said.append("")
        place = len(said) - 1
        async with aclosing(self._events(prompt, options, requester)) as events:
            async for event in events:
                if isinstance(event, Text):
                    said[place] += event.text
                yield event

    async def _events(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester
    ) -> AsyncGenerator[GenerateEvent]:
        """Ask the model; what it was asked before it answers alike, so that is taken as far as it was heard."""
        assert options.temperature == 0
        heard = self._heard.setdefault(repr((prompt, options)), [])
        known = list(heard)
        for event in known:
            yield event
        if known and isinstance(known[-1], End):
            return
        async with aclosing(self._model.stream(prompt, options, requester)) as events:
            place = 0
            async for event in events:
                place += 1
                if place > len(heard):
                    heard.append(event)
                if place > len(known):
                    yield event

    async def statistics(self) -> ModelStatistics:
        """Tell what the model does."""
        return await self._model.statistics()

    async def close(self) -> None:
        """Leave the model to whoever opened it."""
