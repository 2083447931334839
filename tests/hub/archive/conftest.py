"""An archive in a database of its own, of each kind in turn, beside an empty Redis."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.archive.projector import Projector
from hub.bus.connection import connect_reader
from hub.bus.history import History
from hub.database import async_engine
from tests.servers.redis import RedisServer


@pytest.fixture
async def database(every_database: str) -> AsyncIterator[AsyncEngine]:
    """Open a database with its tables."""
    engine = async_engine(every_database)
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
