"""The order in which a request is looked at, shown by requests that are wrong in two ways: the earlier one is told."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis

from hub.settings import ApiSettings, KeySettings, Settings, TierSettings
from tests.hub.api.serving import LOOPBACK, Api, exchange, serving
from tests.servers.redis import RedisServer

TIERS = {"own": TierSettings(limit=1000), "tight": TierSettings(limit=1)}
ERASURES = "/api/v1/admin/erasures"
FACT = "/api/v1/admin/people/nobody/facts/none"
LARGE = 99_999_999
OUTSIDE = "X-Forwarded-For: 203.0.113.9"

ROWS: list[tuple[str, str, str, str, bytes, int, str]] = [
    ("route before method", "DELETE /nowhere", "none", "", b"", 404, "not_found"),
    ("route before size", "POST /nowhere", "none", f"Content-Length: {LARGE}", b"", 404, "not_found"),
    ("method before size", "PUT /chat", "none", f"Content-Length: {LARGE}", b"", 405, "method_not_allowed"),
    ("method before key", "GET /chat", "none", "", b"", 405, "method_not_allowed"),
    (
        "size before network",
        "POST /chat",
        "own",
        f"{OUTSIDE}\r\nContent-Length: {LARGE}",
        b"",
        413,
        "too_large",
    ),
    ("size before key", "POST /chat", "none", f"Content-Length: {LARGE}", b"", 413, "too_large"),
    ("network before key", "POST /chat", "none", OUTSIDE, b"", 403, "network_not_allowed"),
    ("key before limit", "POST /chat", "spent and revoked", "", b"", 401, "unauthorized"),
    ("key before rights", f"POST {ERASURES}", "revoked", "", b"", 401, "unauthorized"),
    ("key before query", "GET /search?k=0", "none", "", b"", 401, "unauthorized"),
    ("key before body", "POST /chat", "none", "", b"{", 401, "unauthorized"),
    ("limit before rights", f"POST {ERASURES}", "spent", "", b"", 429, "rate_limited"),
    ("limit before body", "POST /chat", "spent", "", b"{", 429, "rate_limited"),
    ("rights before query", f"POST {ERASURES}?x=1", "own", "", b"", 403, "scope_needed"),
    ("rights before body", f"POST {ERASURES}", "own", "", b"{", 403, "scope_needed"),
    ("rights before state", f"DELETE {FACT}", "own", "", b"", 403, "scope_needed"),
    ("query before body", "POST /chat?x=1", "own", "", b"{", 400, "unknown_parameter"),
    ("media type before body", "POST /chat", "own", "Content-Type: text/plain", b"{", 415, "media_type"),
    ("syntax before fields", "POST /chat", "own", "", b'{"prompt":"a","prompt":5}', 400, "invalid_json"),
    ("body before state", f"PUT {FACT}", "admin", "", b'{"text":5}', 422, "invalid_fields"),
    ("state", f"PUT {FACT}", "admin", "", b'{"text":"x"}', 404, "not_found"),
]


@pytest.fixture
async def guarded_api(redis: Redis, redis_server: RedisServer, data: Path) -> AsyncIterator[Api]:
    """A server for this machine alone, behind a proxy on it."""
    api = ApiSettings(port=0, trusted_proxies=LOOPBACK, allowed_networks=(IPv4Network("127.0.0.0/8"),))
    settings = Settings(data=data, bus={"redis_url": redis_server.url})
    keys = KeySettings(tiers=TIERS, self_service=False)
    async with serving(redis_server.url, data, api=api, keys=keys, admin=settings) as running:
        yield running


async def test_the_earlier_fault_is_told(guarded_api: Api) -> None:
    """Route, method, size, network, key, limit, rights, query, body, state."""
    keys = await _keys(guarded_api)
    for name, target, key, header, body, status, code in ROWS:
        head = [f"{target} HTTP/1.1", "Host: x", "Connection: close"]
        head += [f"X-API-Key: {keys[key]}"] if key in keys else []
        head += [header] if header else []
        head += [] if "Content-Type" in header else ["Content-Type: application/json"]
        head += [] if "Content-Length" in header else [f"Content-Length: {len(body)}"]

        answer = await exchange(guarded_api.port, "\r\n".join(head).encode() + b"\r\n\r\n" + body)

        problem = orjson.loads(answer.partition(b"\r\n\r\n")[2])
        assert (problem["status"], problem["code"]) == (status, code), name


async def _keys(api: Api) -> dict[str, str]:
    keys = {
        "own": (await api.new_key("own"))["X-API-Key"],
        "admin": (await api.new_key("own", "admin"))["X-API-Key"],
        "revoked": (await api.new_key("own", "admin"))["X-API-Key"],
    }
    for name in ("spent", "spent and revoked"):
        headers = await api.new_key("tight")
        async with api.session.get(f"{api.url}/api/v1/history?session_id=s", headers=headers) as response:
            assert response.status == 200
        keys[name] = headers["X-API-Key"]
    for name in ("revoked", "spent and revoked"):
        await api.parts.keys.revoke(keys[name].split("_")[2])
    return keys
