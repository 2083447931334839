"""The contract of a chat model."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message of a prompt; its text is data and can never close the message or open another."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions:
    """How one answer is generated."""

    max_tokens: int
    temperature: float = 0.0
    """0 always takes the likeliest token."""
    top_p: float = 0.95
    seed: int = 0
    stop: tuple[str, ...] = ()
    """Generation ends before the first of these; they are not part of the answer."""


class ChatModel(Protocol):
    """A model that continues a conversation."""

    name: str
    context_length: int
    """Tokens of prompt and answer together."""

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count the tokens of a prompt, template included; safe to call from the event loop."""

    def stream(self, messages: Sequence[ChatMessage], options: GenerateOptions) -> AsyncGenerator[str]:
        """Generate the assistant's next message, piece by piece; pieces are whole characters.

        Closing the iterator (or cancelling its task) stops the model before the next token.

        Raises:
            ContextWindowExceeded: prompt and `max_tokens` do not fit.
            ModelError: the model failed; nothing else it runs is harmed.
        """

    async def close(self) -> None:
        """Free the model's memory once running answers have ended."""
