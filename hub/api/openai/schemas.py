"""Answers of the routes below /v1, in the form that OpenAI's API gives them."""

from typing import Literal

from hub.api.schemas import Given
from hub.messages import Source

FinishReason = Literal["stop", "length"]


class ModelObject(Given):
    """A name that a request may give as its model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(Given):
    """All such names."""

    object: Literal["list"]
    data: list[ModelObject]


class CachedTokens(Given):
    """What of a prompt cost nothing."""

    cached_tokens: int


class CompletionUsage(Given):
    """What a completion cost."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class ChatMessage(Given):
    """An answer."""

    role: Literal["assistant"]
    content: str
    refusal: None
    sources: tuple[Source, ...] = ()
    """Of the assistant alone: what the answer rests on."""


class ChatChoice(Given):
    """The only choice of a chat completion."""

    index: int
    message: ChatMessage
    logprobs: None
    finish_reason: FinishReason


class ChatCompletion(Given):
    """A whole chat completion."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: CompletionUsage


class ChatDelta(Given):
    """A piece of a message."""

    role: Literal["assistant"] | None = None
    content: str = ""
    refusal: None = None
    sources: tuple[Source, ...] = ()


class ChatPiece(Given):
    """The only choice of a piece; the last one says why it ended."""

    index: int
    delta: ChatDelta
    logprobs: None
    finish_reason: FinishReason | None


class ChatCompletionChunk(Given):
    """A piece of a chat completion; with `stream_options.include_usage` one without choices tells the cost."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatPiece]
    usage: CompletionUsage | None = None


class TextChoice(Given):
    """The only choice of a completion, or a piece of it."""

    index: int
    text: str
    logprobs: None
    finish_reason: FinishReason | None


class TextCompletion(Given):
    """A whole completion, or a piece of it."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: CompletionUsage | None = None


class Embedding(Given):
    """One vector of length 1."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str
    """Numbers, or with `encoding_format` `base64` float32 in little endian."""


class EmbeddingUsage(Given):
    """What the vectors cost."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Given):
    """One vector for each text, in their order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class ErrorObject(Given):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    """The field that is wrong."""
    code: str
    """Stable; programs compare it."""


class ErrorAnswer(Given):
    """An error as clients of OpenAI's API read it."""

    error: ErrorObject
