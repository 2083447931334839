"""Fixtures of the API's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.hub.api.model_engine import ModelEngine
from tests.hub.api.serving import Api, serving
from tests.servers.redis import RedisServer


@pytest.fixture
async def api(redis: Redis, redis_server: RedisServer, data: Path) -> AsyncIterator[Api]:
    """A server with an engine that echoes."""
    async with serving(redis_server.url, data) as running:
        await running.start_engine()
        yield running


@pytest.fixture
async def bare_api(redis: Redis, redis_server: RedisServer, data: Path) -> AsyncIterator[Api]:
    """A server without an engine."""
    async with serving(redis_server.url, data) as running:
        yield running


@pytest.fixture
async def models(bare_api: Api) -> ModelEngine:
    """The engine of that server, with models that are asked themselves."""
    engine = ModelEngine(bare_api)
    await engine.start()
    await bare_api.parts.live.ready.wait()
    return engine
