"""Searches answered from the cache, on a real Redis."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from engine.searching import SearchService
from hub.bus.cache import AnswerCache, CacheCounts, cache_counts
from hub.bus.connection import connect
from hub.errors import HubError
from knowledge.audience import ANYONE, Reader
from knowledge.passages import Passage
from knowledge.questions import Query
from tests.servers.redis import free_port


class CountingBase:
    """Finds one passage that names the question, and counts how often it was asked."""

    def __init__(self) -> None:
        self.version = 1
        self.ranking = "model"
        self.asked: list[tuple[str, int]] = []

    async def view(self, reader: Reader) -> str:
        """Name the version."""
        return f"{self.version} {sorted(reader.audiences)}"

    async def search(self, question: str, k: int, reader: Reader = ANYONE) -> Sequence[Passage]:
        """Find it."""
        assert reader == ANYONE
        self.asked.append((question, k))
        return [
            Passage(
                chunk_id=1,
                title="T",
                location="a.md",
                heading="H",
                text=f"{question} in {self.version}",
                version="v",
                score=0.5,
            )
        ]


@pytest.fixture
def base() -> CountingBase:
    """Give a base that counts."""
    return CountingBase()


@pytest.fixture
def service(redis: Redis, base: CountingBase) -> SearchService:
    """Give the service over it."""
    return SearchService(base, AnswerCache(redis, ttl_s=60, kind="search"))


async def test_same_search_is_asked_once(service: SearchService, base: CountingBase, redis: Redis) -> None:
    """The second time it comes from the cache, the same to the letter."""
    first = await service.answer({"q": "tea", "k": 2})
    second = await service.answer({"q": "tea", "k": 2})

    assert base.asked == [("tea", 2)]
    assert second == {**first, "from_cache": True}
    assert first["results"][0]["source"] == "a.md"
    assert await cache_counts(redis, "search") == CacheCounts(lookups=2, hits=1, misses=1)


@pytest.mark.parametrize(
    "other", [{"q": "Tea", "k": 2}, {"q": "tea", "k": 3}, {"q": "tea", "k": 2, "audience": "site"}]
)
async def test_whatever_is_asked_with_is_part_of_the_question(
    service: SearchService, base: CountingBase, other: dict[str, object]
) -> None:
    """Another number, another spelling, another audience: another search."""
    await service.answer({"q": "tea", "k": 2})

    answer = await service.answer(other)

    assert "from_cache" not in answer
    assert len(base.asked) == 2


async def test_changed_documents_are_searched_again(service: SearchService, base: CountingBase) -> None:
    """A new version of the documents, or of the ranking, makes what is kept useless."""
    await service.answer({"q": "tea", "k": 2})

    base.version = 2
    changed = await service.answer({"q": "tea", "k": 2})
    base.ranking = "other model"
    await service.answer({"q": "tea", "k": 2})

    assert changed["results"][0]["text"] == "tea in 2"
    assert len(base.asked) == 3


async def test_without_redis_it_is_searched(base: CountingBase) -> None:
    """A cache that is away costs time, not answers."""
    client = connect(f"redis://127.0.0.1:{free_port()}/0")
    service = SearchService(base, AnswerCache(client, ttl_s=60, kind="search"))

    with capture_logs():
        answer = await service.answer({"q": "tea", "k": 2})
    await client.aclose()

    assert answer["results"][0]["text"] == "tea in 1"


async def test_without_a_cache_every_search_is_asked(base: CountingBase) -> None:
    """It can be turned off."""
    service = SearchService(base, None)

    for _ in range(2):
        assert "from_cache" not in await service.answer({"q": "tea", "k": 2})

    assert len(base.asked) == 2


@pytest.mark.parametrize("request_", [{}, {"q": "tea"}, {"q": 1, "k": 1}, {"q": "tea", "k": "2"}])
async def test_what_is_no_search_is_refused(service: SearchService, request_: dict[str, object]) -> None:
    """The caller is told what was expected."""
    with pytest.raises(HubError, match="expected"):
        await service.answer(request_)


async def test_damaged_entry_is_searched_again(
    service: SearchService, base: CountingBase, redis: Redis
) -> None:
    """What cannot be read counts for nothing."""
    await service.answer({"q": "tea", "k": 2})
    (key,) = await redis.keys("*cache:search:*")
    await redis.set(key, b"{broken")

    answer = await service.answer({"q": "tea", "k": 2})

    assert answer["results"][0]["text"] == "tea in 1"


async def test_warmed_queries_are_hits(service: SearchService, base: CountingBase) -> None:
    """Whoever asks what was warmed is answered from the cache."""
    queries = [Query(text="tea"), Query(text="milk", k=3)]

    fresh = await service.warm(queries)
    again = await service.warm(queries)

    assert (fresh, again) == (2, 0)
    assert (await service.answer({"q": "milk", "k": 3}))["from_cache"]
    assert base.asked == [("tea", 5), ("milk", 3)]


async def test_cache_stays_warm_over_changes(
    service: SearchService, base: CountingBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is searched for at start and again when the documents have changed."""
    monkeypatch.setattr("engine.searching.LOOK_S", 0.01)
    file = tmp_path / "often.txt"
    file.write_text("tea\n")
    stop = asyncio.Event()

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(service.keep_warm(file, stop))
        while len(base.asked) < 1:
            await asyncio.sleep(0.01)
        base.version = 2
        while len(base.asked) < 2:
            await asyncio.sleep(0.01)
        stop.set()

    assert base.asked == [("tea", 5), ("tea", 5)]


async def test_missing_file_is_told_once(
    service: SearchService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine goes on without it, and does not fill its log."""
    monkeypatch.setattr("engine.searching.LOOK_S", 0.001)
    stop = asyncio.Event()

    with capture_logs() as logs:
        warming = asyncio.create_task(service.keep_warm(tmp_path / "none", stop))
        async with asyncio.timeout(20):
            while not logs:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            stop.set()
            await warming

    assert [entry["event"] for entry in logs] == ["search_cache_not_warmed"]
