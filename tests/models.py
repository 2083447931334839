"""A chat model without weights, for tests that are about something else than language."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

from engine.models.base import (
    ANYBODY,
    ChatMessage,
    ChatModel,
    End,
    GenerateEvent,
    GenerateOptions,
    ModelStatistics,
    Prompt,
    Requester,
    Text,
)
from hub.errors import ContextWindowExceeded, UnknownModel


class EchoModel:
    """Says the last message of the prompt back, word by word, and remembers the prompts it was given."""

    def __init__(self, *, name: str = "echo", context_length: int = 4096) -> None:
        self.name = name
        self.context_length = context_length
        self.prompts: list[tuple[ChatMessage, ...]] = []
        self.options: list[GenerateOptions] = []
        self.requesters: list[Requester] = []
        self.is_closed = False

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count words; one more for each message."""
        return sum(len(message.text.split()) + 1 for message in messages)

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Yield the last message's words, as many as `max_tokens` allows."""
        size = self.count_tokens(prompt.messages) + len(prompt.text.split())
        if size + options.max_tokens > self.context_length:
            raise ContextWindowExceeded(self.context_length, size + options.max_tokens)
        self.prompts.append(prompt.messages)
        self.options.append(options)
        self.requesters.append(requester)
        words = prompt.messages[-1].text.split() if prompt.messages else prompt.text.split()
        said = words[: options.max_tokens]
        for position, word in enumerate(said):
            yield Text(text=f" {word}" if position else word)
        yield End(
            reason="stop" if len(said) == len(words) else "length",
            prompt_tokens=size,
            answer_tokens=len(said),
        )

    async def statistics(self) -> ModelStatistics:
        """Tell nothing."""
        return ModelStatistics()

    async def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True


class LoadedModels:
    """Models that are there from the beginning, by name."""

    def __init__(self, *models: ChatModel) -> None:
        self._models = {model.name: model for model in models}

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[ChatModel]:
        """Give the model of this name."""
        if name not in self._models:
            raise UnknownModel(name, self._models)
        yield self._models[name]


async def said_by(events: AsyncGenerator[GenerateEvent]) -> str:
    """Join the text of an answer."""
    return "".join([event.text async for event in events if isinstance(event, Text)])
