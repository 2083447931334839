"""GET /metrics/cache_accounting: every look-up is one hit or one miss, whatever happens meanwhile."""

import asyncio
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from redis.asyncio import Redis

from engine.searching import SearchService
from hub.bus.cache import AnswerCache
from hub.bus.calls import serve
from hub.bus.connection import connect_reader
from hub.settings import ApiSettings
from tests.engine.test_searching import CountingBase
from tests.hub.api.serving import Api, serving
from tests.servers.redis import RedisServer


@pytest.fixture
async def searched(bare_api: Api) -> Api:
    """A server with an engine that searches by way of the cache."""
    bus = bare_api.parts.bus
    service = SearchService(CountingBase(), AnswerCache(bus.redis, ttl_s=60, kind="search"))
    bare_api.tasks.create_task(
        serve(bus.redis, connect_reader(bus.url), {"search": service.answer}, bare_api.stop)
    )
    bare_api.headers = await bare_api.new_key()
    return bare_api


async def search(api: Api, query: str) -> bool:
    """Search; returns whether the answer came from the cache."""
    async with api.session.get(f"{api.url}/search", params={"q": query}, headers=api.headers) as response:
        assert response.status == 200, await response.text()
        found: bool = (await response.json())["from_cache"]
        return found


async def accounts(api: Api) -> dict[str, dict[str, int]]:
    """Read the accounts."""
    async with api.session.get(f"{api.url}/metrics/cache_accounting") as response:
        assert response.status == 200
        found: dict[str, dict[str, int]] = (await response.json())["caches"]
        return found


async def test_a_hundred_clients_are_all_counted(searched: Api) -> None:
    """At once, over a few queries: the account is what the clients were told."""
    told = await asyncio.gather(*(search(searched, f"tea {number % 10}") for number in range(300)))

    account = (await accounts(searched))["search"]

    assert account["lookups"] == 300
    assert account["hits"] == sum(told) > 0
    assert account["misses"] == 300 - sum(told) >= 10
    assert account["consistent"] is True


async def test_answers_and_searches_have_accounts_of_their_own(searched: Api) -> None:
    """Both forms of the address give both, and the metrics count the same."""
    await search(searched, "tea")
    await search(searched, "tea")

    async with searched.session.get(f"{searched.url}/api/v1/metrics/cache_accounting") as response:
        found = (await response.json())["caches"]
    async with searched.session.get(f"{searched.url}/metrics") as response:
        metrics = await response.text()

    assert found["search"] == {"lookups": 2, "hits": 1, "misses": 1, "consistent": True}
    assert found["answer"] == {"lookups": 0, "hits": 0, "misses": 0, "consistent": True}
    assert 'hubbub_search_cache_lookups{outcome="hit"} 1.0' in metrics


async def test_accounts_are_for_the_operators_networks(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """As the metrics are."""
    settings = ApiSettings(port=0, metrics_networks=(IPv4Network("203.0.113.0/24"),))
    async with (
        serving(redis_server.url, data, api=settings) as api,
        api.session.get(f"{api.url}/metrics/cache_accounting") as response,
    ):
        assert response.status == 403


async def test_without_redis_there_is_no_account(data: Path, tmp_path: Path) -> None:
    """The answer says when to come back."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(folder) as own:
        async with serving(own.url, data, api=ApiSettings(port=0)) as api:
            own.kill()
            async with api.session.get(f"{api.url}/metrics/cache_accounting") as response:
                problem = await response.json()

    assert (response.status, problem["code"]) == (503, "no_redis")
    assert "Retry-After" in response.headers
