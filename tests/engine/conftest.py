"""The bundled models, loaded once, and a small set of documents about a café and a program."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from engine.models.llama.model import LlamaChatModel
from engine.turn import Assistant
from hub.bus.bus import Bus
from hub.bus.connection import connect_reader
from hub.live import Live
from hub.model_settings import GgufSettings
from hub.settings import BusSettings
from tests.engine.assistants import make_assistant
from tests.engine.bench import Bench
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
    bus, stop = Bus(redis_server.url, BusSettings()), asyncio.Event()
    live = Live(bus.redis, connect_reader(redis_server.url))
    running = asyncio.create_task(live.run(stop))
    await live.ready.wait()
    yield Bench(bus, live)
    stop.set()
    await running
    await bus.close()
