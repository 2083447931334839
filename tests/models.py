"""A chat model without weights, for tests that are about something else than language."""

from collections.abc import AsyncGenerator, Sequence

from engine.models.base import ChatMessage, GenerateOptions
from hub.errors import ContextWindowExceeded


class EchoModel:
    """Says the last message of the prompt back, word by word, and remembers the prompts it was given."""

    def __init__(self, *, name: str = "echo", context_length: int = 4096) -> None:
        self.name = name
        self.context_length = context_length
        self.prompts: list[tuple[ChatMessage, ...]] = []
        self.is_closed = False

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count words; one more for each message."""
        return sum(len(message.text.split()) + 1 for message in messages)

    async def stream(self, messages: Sequence[ChatMessage], options: GenerateOptions) -> AsyncGenerator[str]:
        """Yield the last message's words, as many as `max_tokens` allows."""
        needed = self.count_tokens(messages) + options.max_tokens
        if needed > self.context_length:
            raise ContextWindowExceeded(self.context_length, needed)
        self.prompts.append(tuple(messages))
        for position, word in enumerate(messages[-1].text.split()[: options.max_tokens]):
            yield f" {word}" if position else word

    async def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True
