"""What the tests of the GGUF model ask, and what they read of its answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from engine.models.base import (
    ANYBODY,
    ChatMessage,
    ChatModel,
    End,
    GenerateOptions,
    ModelStatistics,
    Prompt,
    Requester,
    Text,
)
from engine.models.llama.model import LlamaChatModel
from hub.model_settings import GgufSettings

SYSTEM = ChatMessage(role="system", text="You know all about the shops of Lisbon. " * 8)
LIMIT_S = 120
"""For anything a test waits for, on a busy machine."""


def prompt(*texts: str, shared: int = 1) -> Prompt:
    """Return a conversation behind the system text, which all share."""
    roles = ("user", "assistant")
    said = (ChatMessage(role=roles[at % 2], text=text) for at, text in enumerate(texts))  # type: ignore[arg-type]
    return Prompt(messages=(SYSTEM, *said), shared=shared)


async def answer(
    model: ChatModel, asked: Prompt, requester: Requester = ANYBODY, *, tokens: int = 8
) -> tuple[str, End]:
    """Return an answer of exactly so many tokens, and what it cost."""
    options = GenerateOptions(max_tokens=tokens, ignore_end=True)
    async with asyncio.timeout(LIMIT_S):
        events = [event async for event in model.stream(asked, options, requester)]
    end = events[-1]
    assert isinstance(end, End)
    assert end.answer_tokens == tokens
    return "".join(event.text for event in events if isinstance(event, Text)), end


@asynccontextmanager
async def small_model(
    *,
    parallel: int,
    context_length: int = 512,
    load: Callable[..., Awaitable[ChatModel]] = LlamaChatModel.load,
    **more: Any,
) -> AsyncIterator[LlamaChatModel]:
    """Open the bundled model with room for few; `more` are settings of it."""
    settings = GgufSettings(context_length=context_length, parallel=parallel, **more)
    model = await load("small", settings)
    assert isinstance(model, LlamaChatModel)
    try:
        yield model
    finally:
        await model.close()


async def until(model: ChatModel, is_so: Callable[[ModelStatistics], bool]) -> None:
    """Wait for what the statistics tell."""
    async with asyncio.timeout(LIMIT_S):
        while not is_so(await model.statistics()):
            await asyncio.sleep(0.01)
