"""The official client, pointed at a server of a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from openai import AsyncOpenAI

from tests.hub.api.serving import Api


@asynccontextmanager
async def official_client(api: Api, key: str = "", *, tier: str = "own") -> AsyncIterator[AsyncOpenAI]:
    """Give a client with a key of its own, unless one is given; it repeats nothing."""
    key = key or (await api.new_key(tier))["X-API-Key"]
    async with AsyncOpenAI(base_url=f"{api.url}/v1", api_key=key, max_retries=0, timeout=60) as client:
        yield client
