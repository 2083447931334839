"""GET /metrics/cache_accounting while a hundred clients search, an engine is killed among them, and Redis after it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from engine.searching import SearchService
from hub.bus.cache import AnswerCache
from hub.bus.calls import serve
from hub.bus.connection import connect_reader
from hub.settings import PROJECT_ROOT, KnowledgeSettings, Settings
from knowledge.search import KnowledgeBase
from tests.hub.api.serving import Api, serving
from tests.hub.api.test_cache_accounting import accounts
from tests.servers.redis import RedisServer

CLIENTS = 100
SEARCHES = 3
"""That each client has to get answered."""
QUERIES = ("When is low water?", "Who ties up the boats?", "Where is diesel sold?", "What closes the gate?")
DOCUMENT = """# Harbour

## Tides

Low water comes at noon.

## Berths

The harbour master ties up the boats. Diesel is sold at the yellow pump. A storm closes the gate.
"""
ENGINE = """
import asyncio, sys
from pathlib import Path
from engine.searching import SearchService
from hub.bus.cache import AnswerCache
from hub.bus.calls import serve
from hub.bus.connection import connect, connect_reader
from hub.settings import KnowledgeSettings, Settings
from knowledge.search import KnowledgeBase

async def main(url, data):
    base = await KnowledgeBase.open(Settings(_env_file=None, data=Path(data), knowledge=KnowledgeSettings(bundled_docs=False)))
    await base.ready()
    redis = connect(url)
    service = SearchService(base, AnswerCache(redis, ttl_s=60, kind="search"))

    async def search(request):
        answer = await service.answer(request)
        print("searched", flush=True)
        return answer

    print("ready", flush=True)
    await serve(redis, connect_reader(url), {"search": search}, asyncio.Event())

asyncio.run(main(*sys.argv[1:]))
"""
"""A process that answers searches until it is killed."""


class Clients:
    """What all clients together have sent and been told."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.sent = 0
        self.hits = 0
        self.misses = 0
        self.failed = 0

    @property
    def told(self) -> int:
        """How many searches were answered."""
        return self.hits + self.misses

    async def work(self, number: int) -> None:
        """Be one client: search until a few searches have been answered, whatever fails meanwhile."""
        answered = 0
        while answered < SEARCHES:
            query = QUERIES[(number + answered) % len(QUERIES)]
            self.sent += 1
            async with self._api.session.get(
                f"{self._api.url}/search", params={"q": query, "k": 1}, headers=self._api.headers
            ) as response:
                answer = await response.json()
            if response.status == 200:
                answered += 1
                self.hits += answer["from_cache"]
                self.misses += not answer["from_cache"]
                assert answer["results"][0]["source"] == "harbour.md"
            else:
                assert response.status in (503, 504), answer
                self.failed += 1
                await asyncio.sleep(0.1)


@asynccontextmanager
async def engine(url: str, data: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an engine process that searches, and is killed at the end if not before."""
    command = (sys.executable, "-c", ENGINE, url, str(data))
    process = await asyncio.create_subprocess_exec(*command, cwd=PROJECT_ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _until(process: asyncio.subprocess.Process, line: bytes) -> None:
    assert process.stdout
    async with asyncio.timeout(60):
        while (said := await process.stdout.readline()).strip() != line:
            assert said, "the engine has ended"


@pytest.mark.timeout(120)
async def test_every_look_up_is_counted_whoever_is_killed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account adds up at every moment, holds all that clients were told, and no more than they asked."""
    monkeypatch.setattr("hub.api.search.SEARCH_TIMEOUT_S", 1.5)
    (tmp_path / "harbour.md").write_text(DOCUMENT)
    (tmp_path / "redis").mkdir()
    settings = Settings(_env_file=None, data=data, knowledge=KnowledgeSettings(bundled_docs=False))
    base = await KnowledgeBase.open(settings)
    await base.ingest([tmp_path / "harbour.md"])
    with RedisServer(tmp_path / "redis") as redis, capture_logs() as logs:
        async with serving(redis.url, data) as api, engine(redis.url, data) as killed:
            await _until(killed, b"ready")
            api.headers = await api.new_key()
            clients = Clients(api)
            working = [asyncio.create_task(clients.work(number)) for number in range(CLIENTS)]
            await _until(killed, b"searched")
            before = (await accounts(api))["search"]
            killed.kill()
            bus = api.parts.bus
            other = SearchService(base, AnswerCache(bus.redis, ttl_s=60, kind="search"))
            api.tasks.create_task(
                serve(bus.redis, connect_reader(bus.url), {"search": other.answer}, api.stop)
            )
            between = [(await accounts(api))["search"]]
            while clients.told < CLIENTS:
                await asyncio.sleep(0.01)
            between.append((await accounts(api))["search"])
            redis.kill()
            redis.start()
            await asyncio.gather(*working)
            after = (await accounts(api))["search"]
    await base.close()

    assert 0 < before["lookups"] <= between[0]["lookups"] <= between[1]["lookups"] <= after["lookups"]
    assert all(account["consistent"] for account in (before, *between, after))
    assert after["lookups"] == after["hits"] + after["misses"]
    assert clients.told == CLIENTS * SEARCHES
    assert clients.failed > 0
    # While Redis is away an engine searches without looking up.
    without = sum(entry["event"] == "cache_not_read" for entry in logs)
    assert clients.told - without <= after["lookups"] <= clients.sent
    assert after["hits"] >= clients.hits > 0
    assert after["misses"] >= clients.misses - without > 0
