"""The bundled models, loaded once, and a small set of documents about a café and a program."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from engine.models.llama.model import LlamaChatModel
from engine.turn import Assistant
from hub.model_settings import GgufSettings
from tests.engine.assistants import make_assistant
from tests.engine.bench import Bench, opened_bench
from tests.engine.small_retriever import Embeddings, SmallRetriever
from tests.servers.redis import RedisServer

DOCUMENTS = Path(__file__).parent / "documents"


@pytest.fixture(scope="session")
def llama() -> Iterator[LlamaChatModel]:
    """Return the bundled chat model."""
    model = asyncio.run(LlamaChatModel.load("smollm2-135m", GgufSettings()))
    yield model
    asyncio.run(model.close())


@pytest.fixture(scope="session")
def embeddings() -> Embeddings:
    """Return the bundled embedding model."""
    return Embeddings()


@pytest.fixture(scope="session")
def retriever(embeddings: Embeddings) -> SmallRetriever:
    """Search in the documents that lie beside the tests."""
    files = sorted(DOCUMENTS.glob("*.md"))
    return SmallRetriever(embeddings, {file.name: file.read_text("utf-8") for file in files})


@pytest.fixture(scope="session")
def assistant(llama: LlamaChatModel, retriever: SmallRetriever) -> Assistant:
    """Answer with the bundled models from the documents beside the tests."""
    return make_assistant(llama, retriever)


@pytest.fixture
async def bench(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Bench]:
    """An empty bus with live text."""
    async with opened_bench(redis_server.url) as opened:
        yield opened
