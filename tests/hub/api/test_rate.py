"""The limit of a key, as clients meet it."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from redis.asyncio import Redis

from hub.settings import ApiSettings, KeySettings, TierSettings
from tests.hub.api.serving import LOOPBACK, serving
from tests.servers.redis import RedisServer

PATH = "/api/v1/history?session_id=s"


async def test_many_keys_of_one_address_get_no_more_together(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """Keys that anybody may get share a limit by address; another address has its own, and so has the operator's key."""
    api_settings = ApiSettings(port=0, trusted_proxies=LOOPBACK)
    keys = KeySettings(self_service_per_minute=15)
    async with serving(redis_server.url, data, api=api_settings, keys=keys) as api:
        statuses = []
        for _ in range(2):
            async with api.session.post(f"{api.url}/generate-key?tier=free") as response:
                own = {"X-API-Key": (await response.json())["api_key"]}
            for _ in range(9):
                async with api.session.get(api.url + PATH, headers=own) as response:
                    statuses.append(response.status)
        refused = response
        elsewhere = {**own, "X-Forwarded-For": "203.0.113.5"}
        async with api.session.get(api.url + PATH, headers=elsewhere) as response:
            of_another = response
        async with api.session.get(api.url + PATH, headers=await api.new_key("free")) as response:
            of_operator = response

    assert statuses == [200] * 15 + [429] * 3
    assert refused.headers["RateLimit-Policy"] == '"free";q=10;w=60, "address";q=15;w=60'
    # What was refused counts for neither.
    assert refused.headers["RateLimit"].startswith('"free";r=4;')
    assert '"address";r=0;' in refused.headers["RateLimit"]
    assert (of_another.status, of_operator.status) == (200, 200)
    assert of_operator.headers["RateLimit-Policy"] == '"free";q=10;w=60'


async def test_a_thousand_at_once_are_counted_exactly(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """100 are answered and 900 are told when to come again, each with what is left."""
    keys = KeySettings(tiers={"pro": TierSettings(limit=100)}, self_service_tiers=("pro",))
    async with serving(redis_server.url, data, keys=keys) as api:
        headers = await api.new_key("pro")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200)) as session:

            async def ask() -> tuple[int, Mapping[str, str]]:
                async with session.get(api.url + PATH, headers=headers) as response:
                    return response.status, response.headers

            answers = await asyncio.gather(*(ask() for _ in range(1000)))

    assert Counter(status for status, _ in answers) == {200: 100, 429: 900}
    left = []
    for status, told in answers:
        assert told["RateLimit-Policy"] == '"pro";q=100;w=60'
        name, remaining, wait = told["RateLimit"].split(";")
        assert (name, remaining[:2], wait[:2]) == ('"pro"', "r=", "t=")
        assert 1 <= int(wait[2:]) <= 60
        if status == 429:
            assert (remaining, told["Retry-After"]) == ("r=0", wait[2:])
        else:
            left.append(int(remaining[2:]))
    assert sorted(left) == list(range(100))
