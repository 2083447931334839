"""A Redis of its own that writes plain files, so that every byte it keeps can be looked through."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.archive.projector import Projector
from hub.bus.connection import connect_reader
from hub.database import async_engine, database_url, upgrade
from tests.hub.erasure.world import World
from tests.servers.redis import RedisServer


@pytest.fixture
def redis_folder(tmp_path: Path) -> Path:
    """The folder of the append-only file."""
    folder = tmp_path / "redis"
    folder.mkdir()
    return folder


@pytest.fixture
def own_redis(redis_folder: Path) -> Iterator[RedisServer]:
    """A server whose files are somebody's alone."""
    with RedisServer(redis_folder, appendfsync="everysec") as server:
        yield server


@pytest.fixture
async def world(own_redis: RedisServer, data: Path) -> AsyncIterator[World]:
    """An empty hub."""
    world = World(own_redis, data)
    client: Any = world.redis
    # What is compressed could not be seen in the files.
    await client.config_set("rdbcompression", "no")
    yield world
    await world.close()


@pytest.fixture
async def projector(world: World) -> AsyncIterator[Projector]:
    """Make what writes the archive."""
    url = database_url(world.settings)
    await asyncio.to_thread(upgrade, url)
    engine, reader = async_engine(url), connect_reader(world.bus.url)
    yield Projector(world.redis, reader, world.bus.history, engine)
    await reader.aclose()
    await engine.dispose()
