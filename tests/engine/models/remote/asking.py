"""How the tests of remote models ask."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from engine.models.base import ChatMessage, End, GenerateOptions, Prompt, Text
from engine.models.remote import RemoteChatModel
from hub.model_settings import RemoteSettings

HELLO = Prompt(
    messages=(
        ChatMessage(role="system", text="Be brief."),
        ChatMessage(role="user", text="Name three colours."),
    )
)
KEY = "sk-a-key-nobody-may-see"


@asynccontextmanager
async def remote(*base_urls: str, **settings: Any) -> AsyncIterator[RemoteChatModel]:
    """Open a model at these endpoints."""
    given = {"attempts": 1, "api_key": KEY, **settings}
    model = await RemoteChatModel.load(
        "far",
        RemoteSettings.model_validate({"type": "remote", "base_urls": base_urls, "model": "small"} | given),
    )
    try:
        yield model
    finally:
        await model.close()


async def ask(model: RemoteChatModel, prompt: Prompt = HELLO, **options: Any) -> tuple[str, End]:
    """Return the whole answer and how it ended."""
    asked = GenerateOptions(**{"max_tokens": 20} | options)
    *pieces, end = [event async for event in model.stream(prompt, asked)]
    assert isinstance(end, End)
    assert all(isinstance(piece, Text) for piece in pieces)
    return "".join(piece.text for piece in pieces if isinstance(piece, Text)), end
