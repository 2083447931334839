"""A hub whose people have used everything, and a second machine to restore it on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.erasure.conftest import own_redis, redis_folder, world
from tests.servers.redis import RedisServer

__all__ = ["other_redis", "own_redis", "redis_folder", "world"]


@pytest.fixture
def other_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """The Redis of the second machine."""
    folder = tmp_path / "other-redis"
    folder.mkdir()
    with RedisServer(folder, appendfsync="everysec") as server:
        yield server
