"""Fixtures every part uses."""

import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis

from hub.bus.connection import connect
from hub.database import upgrade
from tests.converted import convert
from tests.local_only import _stay_on_this_machine  # noqa: F401 - a fixture of every test
from tests.servers.cluster import ClusterServers
from tests.servers.llama_server import LlamaServer
from tests.servers.postgresql import PostgresqlServer
from tests.servers.redis import RedisServer, redis_executables, searching_redis

MEMORY_FILES = Path("/dev/shm")
ROOM_BYTES = 6 << 30
"""Of memory and of its file system, for all that the tests write."""


def pytest_configure() -> None:
    """Keep the tests' files in memory where there is room: each message is written through to the disk, many thousand times."""
    if "TMPDIR" in os.environ or not MEMORY_FILES.is_dir():
        return
    if min(shutil.disk_usage(MEMORY_FILES).free, psutil.virtual_memory().available) > ROOM_BYTES:
        os.environ["TMPDIR"] = str(MEMORY_FILES)
        tempfile.tempdir = None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files whose tests may take longest: one that began last would be waited for by everybody."""
    longest: defaultdict[Path, float] = defaultdict(float)
    for item in items:
        if mark := item.get_closest_marker("timeout"):
            longest[item.path] = max(longest[item.path], *mark.args, 0.0)
    items.sort(key=lambda item: -longest[item.path])


@pytest.fixture(scope="session", params=redis_executables(), ids=lambda path: path.split("/")[-3][:16])
def every_redis(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """Each redis-server on this machine in turn, among them the oldest one supported."""
    with RedisServer(tmp_path_factory.mktemp("redis"), executable=request.param) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One redis-server for the whole run."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def searching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis with the Query Engine for the whole run."""
    with searching_redis(tmp_path_factory.mktemp("searching")) as server:
        yield server


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client of an empty Redis."""
    client = connect(redis_server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """One PostgreSQL server for the whole run."""
    with PostgresqlServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def every_database(request: pytest.FixtureRequest, data: Path) -> Iterator[str]:
    """The URL of an empty database with all tables: SQLite's in the data folder, then one of PostgreSQL."""
    if request.param == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        with server.database() as url:
            yield url
        return
    url = f"sqlite:///{data / 'hubbub.db'}"
    upgrade(url)
    yield url


@pytest.fixture(scope="session")
def llama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    """One server with the OpenAI-compatible protocol for the whole run."""
    with LlamaServer(tmp_path_factory.mktemp("llama") / "server.log", api_key="sk-local") as server:
        yield server


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundled model in other formats: in `safetensors` and in `onnx`."""
    folder = tmp_path_factory.mktemp("converted")
    convert(folder)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterServers]:
    """A Cluster of three masters for the whole run."""
    with ClusterServers(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers
