"""Fixtures of the operators' routes."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from hub.settings import KnowledgeSettings
from knowledge.embedder import Embedder
from tests.hub.api.admin.operating import Operator, SharedEmbeddings, operating, start_embedding
from tests.servers.redis import RedisServer


@pytest.fixture(scope="session")
def embedder() -> Iterator[Embedder]:
    """The bundled embedding model, loaded once."""
    model = Embedder(KnowledgeSettings())
    yield model
    model.close()


@pytest.fixture
async def bare_operator(redis: Redis, redis_server: RedisServer, data: Path) -> AsyncIterator[Operator]:
    """An operator of a hub without an engine."""
    async with operating(redis_server, data) as operator:
        yield operator


@pytest.fixture
def embeddings(embedder: Embedder) -> SharedEmbeddings:
    """What an engine embeds with."""
    return SharedEmbeddings(embedder)


@pytest.fixture
async def operator(bare_operator: Operator, embeddings: SharedEmbeddings) -> Operator:
    """An operator of a hub whose engine embeds."""
    start_embedding(bare_operator.api, embeddings)
    return bare_operator
