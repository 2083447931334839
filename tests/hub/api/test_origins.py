"""From where the API may be used: by networks, and by pages of other origins."""

from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from hub.api.server import declared_routes
from hub.errors import SettingsError
from hub.settings import ApiSettings, Settings, load_settings
from tests.hub.api.serving import LOOPBACK, Api, serving
from tests.servers.redis import RedisServer

HOME, OFFICE = IPv4Network("192.0.2.0/24"), IPv4Network("203.0.113.0/24")
APP = "https://app.example.org"
EVIL = "https://evil.example"


async def status_of(api: Api, path: str, address: str, headers: Mapping[str, str]) -> int:
    """Ask from an address, as the proxy on this machine tells it."""
    sent = {**headers, "X-Forwarded-For": address}
    async with api.session.get(api.url + path, headers=sent) as response:
        return response.status


@pytest.mark.parametrize(
    ("allowed", "admin", "expected"),
    [
        ((), (), {"192.0.2.7": (200, 200), "203.0.113.7": (200, 200)}),
        ((HOME,), (), {"192.0.2.7": (200, 200), "203.0.113.7": (403, 403)}),
        ((), (OFFICE,), {"192.0.2.7": (200, 403), "203.0.113.7": (200, 200)}),
        ((HOME,), (OFFICE,), {"192.0.2.7": (200, 403), "203.0.113.7": (403, 200)}),
    ],
)
async def test_networks_are_let_in_by_list(
    redis: Redis,
    redis_server: RedisServer,
    data: Path,
    allowed: tuple[IPv4Network, ...],
    admin: tuple[IPv4Network, ...],
    expected: Mapping[str, tuple[int, int]],
) -> None:
    """The API and the operators' routes have a list each; the right-most address behind trusted proxies counts."""
    api = ApiSettings(port=0, trusted_proxies=LOOPBACK, allowed_networks=allowed, admin_networks=admin)
    settings = Settings(data=data, bus={"redis_url": redis_server.url})
    async with serving(redis_server.url, data, api=api, admin=settings) as running:
        key = await running.new_key("own", "admin")
        for address, (own, operators) in expected.items():
            # What stands left of it is the client's own invention.
            seen = f"127.0.0.1, {address}"
            assert await status_of(running, "/api/v1/history?session_id=s", seen, key) == own
            assert await status_of(running, "/api/v1/admin/people", seen, key) == operators
            assert await status_of(running, "/api/v1/docs", seen, {}) == own
            assert await status_of(running, "/health", seen, {}) == 200


async def test_a_proxy_that_is_not_trusted_lets_nobody_in(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """Its own address says nothing about who asks."""
    async with serving(redis_server.url, data, api=ApiSettings(port=0, allowed_networks=LOOPBACK)) as api:
        key = await api.new_key()
        path = "/api/v1/history?session_id=s"
        async with api.session.get(api.url + path, headers=key) as response:
            direct = response.status
        passed_on = await status_of(api, path, "127.0.0.1", key)

    assert (direct, passed_on) == (200, 403)


async def test_every_route_but_probes_is_closed_to_other_networks(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """None was forgotten, the socket and the page included."""
    settings = Settings(data=data, bus={"redis_url": redis_server.url})
    api = ApiSettings(port=0, allowed_networks=(HOME,), cors_origins=(APP,))
    async with serving(redis_server.url, data, api=api, admin=settings) as running:
        for route in declared_routes(running.parts):
            path = "/".join("7" if part.startswith("{") else part for part in route.path.split("/"))
            async with running.session.request(route.method, running.url + path) as response:
                assert (response.status == 403) == (not route.access.is_probe), route.about.name


async def preflight(api: Api, path: str, origin: str, method: str) -> tuple[int, Mapping[str, str]]:
    """Ask as a browser does before it lets a page send something."""
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    async with api.session.options(api.url + path, headers=headers) as response:
        return response.status, response.headers


async def test_pages_of_listed_origins_may_use_the_api(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """An origin that is not listed is told nothing, and the operators' routes are for none."""
    api = ApiSettings(port=0, cors_origins=(APP,))
    settings = Settings(data=data, bus={"redis_url": redis_server.url})
    async with serving(redis_server.url, data, api=api, admin=settings) as running:
        may, granted = await preflight(running, "/api/v1/chat", APP, "POST")
        refused: list[tuple[int, Any]] = [
            await preflight(running, *asked)
            for asked in (
                ("/api/v1/chat", EVIL, "POST"),
                ("/api/v1/chat", "null", "POST"),
                ("/api/v1/chat", APP.upper(), "POST"),
                ("/api/v1/chat", f"{APP}.evil.example", "POST"),
                ("/api/v1/chat", APP, "DELETE"),
                ("/api/v1/admin/people", APP, "GET"),
                ("/health", APP, "GET"),
            )
        ]
        key = await running.new_key("own", "admin")
        seen = {}
        for path in ("/api/v1/history?session_id=s", "/api/v1/history", "/api/v1/admin/people"):
            for origin in (APP, EVIL):
                async with running.session.get(
                    running.url + path, headers={**key, "Origin": origin}
                ) as response:
                    seen[path, origin] = response.headers.get("Access-Control-Allow-Origin")
        async with running.session.ws_connect(
            f"{running.url}/ws/generate", headers={"Origin": APP}
        ) as socket:
            await socket.close()
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await running.session.ws_connect(f"{running.url}/ws/generate", headers={"Origin": EVIL})

    assert (may, granted["Access-Control-Allow-Origin"], granted["Access-Control-Allow-Methods"]) == (
        204,
        APP,
        "POST",
    )
    assert "X-API-Key" in granted["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in granted
    for status, headers in refused:
        assert status == 405
        assert "Access-Control-Allow-Origin" not in headers
    assert {key for key, allowed in seen.items() if allowed} == {
        ("/api/v1/history?session_id=s", APP),
        ("/api/v1/history", APP),
    }


@pytest.mark.parametrize(
    "origin", ["*", "https://app.example.org/", "app.example.org", "https://App.example.org", "null"]
)
def test_what_is_no_origin_stops_the_start(
    origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that could mean everybody, or that no browser ever sends."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.toml").write_text(f'[api]\ncors_origins = ["{origin}"]\n')

    with pytest.raises(SettingsError, match="is no origin"):
        load_settings()
