"""What stands between the processes and their server."""

from collections.abc import AsyncIterator

import pytest

from tests.servers.proxy import LossyProxy
from tests.servers.redis import RedisServer


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[LossyProxy]:
    """A proxy in front of the server."""
    async with LossyProxy(redis_server.port).running() as proxy:
        yield proxy
