"""An archive in a database of its own, beside an empty Redis."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.archive.projector import Projector
from hub.bus.connection import connect_reader
from hub.bus.history import History
from hub.database import async_engine, database_url, upgrade
from hub.settings import Settings
from tests.servers.redis import RedisServer


@pytest.fixture
async def database(data: Path) -> AsyncIterator[AsyncEngine]:
    """Open a database with its tables."""
    url = database_url(Settings(_env_file=None, data=data))
    await asyncio.to_thread(upgrade, url)
    engine = async_engine(url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def projector(
    redis_server: RedisServer, redis: Redis, database: AsyncEngine
) -> AsyncIterator[Projector]:
    """Make what writes the archive."""
    reader = connect_reader(redis_server.url)
    yield Projector(redis, reader, History(redis), database)
    await reader.aclose()
