"""Search, keys, health, metrics, proxies and what stands around every request."""

import asyncio
from ipaddress import IPv4Network, ip_address
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from redis.asyncio import Redis
from structlog.testing import capture_logs

from hub.api.addresses import limit_name
from hub.bus.cache import AnswerCache
from hub.settings import ApiSettings, KeySettings
from tests.hub.api.serving import LOOPBACK, Api, RecordedProgress, serving
from tests.servers.redis import RedisServer


async def test_search_answers_with_passages(api: Api) -> None:
    """Both forms give what the engine finds."""
    headers = await api.new_key()

    answers = []
    for path in ("/search", "/api/v1/search"):
        async with api.session.get(
            api.url + path, params={"q": "tea", "k": "2"}, headers=headers
        ) as response:
            answers.append((response.status, await response.json()))

    assert [status for status, _ in answers] == [200, 200]
    hit = answers[0][1]["results"][0]
    assert (hit["source"], hit["text"], hit["score"]) == ("docs/guide.md", "tea", 0.5)
    assert len(answers[1][1]["results"]) == 2


async def test_keys_are_handed_out(api: Api) -> None:
    """The answer is exactly the key and what it may do, and the key works at once."""
    async with api.session.post(f"{api.url}/generate-key?tier=pro") as response:
        answer = await response.json()
    headers = {"Authorization": f"Bearer {answer['api_key']}"}
    async with api.session.get(f"{api.url}/search?q=tea", headers=headers) as found:
        status = found.status

    assert response.status == 200
    assert list(answer) == ["api_key", "tier", "limit", "window"]
    assert answer["api_key"].startswith("cc_live_")
    assert (answer["tier"], answer["limit"], answer["window"]) == ("pro", 100, 60)
    assert status == 200
    assert found.headers["RateLimit"].startswith('"pro";r=99;t=')


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?tier=platinum", 422, "unknown_tier"),
        ("?tier=Pro", 422, "unknown_tier"),
        ("?tier=", 422, "invalid_fields"),
        ("?tier=free&tier=pro", 400, "repeated_parameter"),
        ("?tier=free&limit=1000000", 400, "unknown_parameter"),
        ("?tier=own", 403, "tier_not_offered"),
    ],
)
async def test_keys_of_other_tiers_are_not(api: Api, query: str, status: int, code: str) -> None:
    """Only the tiers that are offered, spelt as they are."""
    async with api.session.post(f"{api.url}/generate-key{query}") as response:
        problem = await response.json()

    assert (response.status, problem["code"]) == (status, code)


async def test_keys_are_limited_by_address(redis: Redis, redis_server: RedisServer, data: Path) -> None:
    """An address gets so many an hour; behind a trusted proxy the client's address counts, as the proxy saw it."""
    settings = ApiSettings(port=0, trusted_proxies=LOOPBACK)
    keys = KeySettings(self_service_per_hour=2)
    async with serving(redis_server.url, data, api=settings, keys=keys) as api:
        statuses = []
        # What stands left of the last hop is the client's own invention.
        for forwarded in (
            "6.6.6.1, 203.0.113.5",
            "6.6.6.2, 203.0.113.5",
            "6.6.6.3, 203.0.113.5",
            "203.0.113.6",
        ):
            async with api.session.post(
                f"{api.url}/generate-key", headers={"X-Forwarded-For": forwarded}
            ) as response:
                statuses.append(response.status)

    assert statuses == [200, 200, 429, 200]


async def test_self_service_can_be_off(redis: Redis, redis_server: RedisServer, data: Path) -> None:
    """Then nobody gets a key over HTTP."""
    async with (
        serving(redis_server.url, data, keys=KeySettings(self_service=False)) as api,
        api.session.post(f"{api.url}/generate-key") as response,
    ):
        problem = await response.json()

    assert (response.status, problem["code"]) == (403, "self_service_off")


async def test_health_tells_whether_an_engine_works(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """`degraded` without an engine, `ok` with one; nothing else is told."""
    async with serving(redis_server.url, data) as api:
        before = await _json(api, "/health")
        await api.start_engine()
        async with asyncio.timeout(30):
            while (after := await _json(api, "/api/v1/health"))["status"] != "ok":
                await asyncio.sleep(0.01)

    assert before == {"status": "degraded", "redis": "up", "engine": "down"}
    assert after == {"status": "ok", "redis": "up", "engine": "up"}


async def test_an_absent_redis_is_a_503(tmp_path: Path, data: Path) -> None:
    """What needs Redis says when to come back; the server itself goes on."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(folder) as own:
        async with serving(own.url, data, api=ApiSettings(port=0)) as api:
            headers = await api.new_key()
            own.kill()
            async with api.session.post(f"{api.url}/chat", json={"prompt": "x"}, headers=headers) as chat:
                problem = await chat.json()
            async with api.session.get(f"{api.url}/health") as health:
                state = await health.json()
            async with api.session.get(f"{api.url}/metrics") as metrics:
                text = await metrics.text()

    assert (chat.status, problem["code"]) == (503, "unavailable")
    assert "Retry-After" in chat.headers
    assert (health.status, state["redis"]) == (503, "down")
    assert metrics.status == 200
    assert "hubbub_redis_up 0.0" in text


async def test_a_frozen_redis_is_down_for_a_probe_that_does_not_wait(tmp_path: Path, data: Path) -> None:
    """Health answers in about two seconds whatever Redis does."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(folder) as own:
        async with serving(own.url, data, api=ApiSettings(port=0)) as api:
            own.pause()
            try:
                async with asyncio.timeout(8), api.session.get(f"{api.url}/health") as health:
                    state = await health.json()
            finally:
                own.resume()

    assert (health.status, state["redis"], state["engine"]) == (503, "down", "down")


async def test_metrics_count_requests_turns_and_state(api: Api) -> None:
    """Prometheus reads requests by route, turns by connector, tokens, backlog and the names of old scrapers."""
    headers = await api.new_key()
    cache = AnswerCache(api.parts.bus.redis, ttl_s=60)
    await cache.keep("a", b"answer")
    for digest in ("a", "b", "c"):
        await cache.find(digest)
    async with api.session.post(f"{api.url}/chat", json={"prompt": "x"}, headers=headers) as response:
        assert response.status == 200
    async with api.session.get(f"{api.url}/made-up-path") as response:
        assert response.status == 404

    async with asyncio.timeout(30):
        while "inference_count 1.0" not in (text := await _text(api, "/metrics")):
            await asyncio.sleep(0.01)

    for line in (
        'hubbub_http_requests_total{method="POST",route="/chat",status="200"} 1.0',
        'hubbub_http_requests_total{method="GET",route="unknown",status="404"} 1.0',
        'hubbub_turns_total{connector="api",kind="answer",route="echo"} 1.0',
        'hubbub_tokens_total{kind="prompt",model="echo"} 7.0',
        'hubbub_queue_backlog{queue="inbound"} 0.0',
        "hubbub_dead_letters 0.0",
        "hubbub_redis_up 1.0",
        "last_latency 0.025",
        "cache_hits 1.0",
        "cache_misses 2.0",
    ):
        assert line in text.splitlines(), line
    assert "made-up-path" not in text
    assert "process_resident_memory_bytes" in text


@pytest.mark.parametrize(
    ("trusted", "networks", "forwarded", "status"),
    [
        (False, "127.0.0.0/8", None, 200),
        (False, "192.0.2.0/24", None, 403),
        # A proxy on this machine that nobody told us of passes strangers on.
        (False, "127.0.0.0/8", "203.0.113.5", 403),
        (True, "127.0.0.0/8", "203.0.113.5", 403),
        (True, "203.0.113.0/24", "203.0.113.5", 200),
        (True, "203.0.113.0/24", "203.0.113.5, 198.51.100.7", 403),
        (True, "203.0.113.0/24", "::ffff:203.0.113.5, 127.0.0.2", 200),
        (True, "203.0.113.0/24", "rubbish", 403),
    ],
)
async def test_metrics_are_for_the_operators_networks(
    redis: Redis,
    redis_server: RedisServer,
    data: Path,
    *,
    trusted: bool,
    networks: str,
    forwarded: str | None,
    status: int,
) -> None:
    """Who asks is decided by the socket and by proxies that are trusted, by nothing else."""
    settings = ApiSettings(
        port=0,
        trusted_proxies=LOOPBACK if trusted else (),
        metrics_networks=(IPv4Network(networks),),
    )
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    async with (
        serving(redis_server.url, data, api=settings) as api,
        api.session.get(f"{api.url}/metrics", headers=headers) as response,
    ):
        assert response.status == status


async def test_every_answer_carries_its_id_and_its_guards(api: Api) -> None:
    """A client's own request id is kept when it is one; who serves is not told."""
    async with api.session.get(f"{api.url}/health", headers={"X-Request-ID": "trace-0001"}) as response:
        kept = response.headers["X-Request-ID"]
    async with api.session.get(f"{api.url}/nowhere", headers={"X-Request-ID": "<b>"}) as response:
        made = response.headers["X-Request-ID"]

    assert kept == "trace-0001"
    assert len(made) == 24
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "aiohttp" not in response.headers.get("Server", "")


async def test_one_line_is_logged_for_each_request(api: Api) -> None:
    """Method, route, status and time; no query, no text, no key."""
    headers = await api.new_key()
    with capture_logs() as logs:
        async with api.session.get(f"{api.url}/search?q=secret-words", headers=headers) as response:
            await response.read()
        async with asyncio.timeout(30):
            while not logs:
                await asyncio.sleep(0.01)

    lines = [entry for entry in logs if entry["event"] == "request_answered"]
    assert len(lines) == 1
    assert (lines[0]["method"], lines[0]["route"], lines[0]["status"]) == ("GET", "/search", 200)
    assert lines[0]["key"] == headers["X-API-Key"].split("_")[2]
    assert "secret-words" not in repr(logs)
    assert headers["X-API-Key"] not in repr(logs)


async def test_routes_of_connectors_stand_beside_the_own(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """They see the client's address behind a proxy, and what breaks in them is a problem without internals."""

    async def remote(request: web.Request) -> web.Response:
        return web.Response(text=request.remote or "", headers={"Cache-Control": "public"})

    async def broken(_: web.Request) -> web.Response:
        raise RuntimeError("the password is swordfish")

    async def socket(request: web.Request) -> web.WebSocketResponse:
        opened = web.WebSocketResponse()
        await opened.prepare(request)
        await opened.send_str(request.remote or "")
        await opened.close()
        return opened

    extra = [web.get("/remote", remote), web.get("/broken", broken), web.get("/ws", socket)]
    settings = ApiSettings(port=0, trusted_proxies=LOOPBACK)
    headers = {"X-Forwarded-For": "203.0.113.5"}
    async with serving(redis_server.url, data, api=settings, extra=extra) as api:
        async with api.session.get(f"{api.url}/remote", headers=headers) as response:
            seen = await response.text()
        async with api.session.get(f"{api.url}/broken") as failed:
            problem = await failed.text()
        async with api.session.ws_connect(f"{api.url}/ws", headers=headers) as opened:
            first = await opened.receive()

    assert seen == "203.0.113.5"
    assert response.headers["Cache-Control"] == "public"
    assert response.headers["X-Request-ID"]
    assert failed.status == 500
    assert "swordfish" not in problem
    assert first.type is aiohttp.WSMsgType.TEXT
    assert first.data == "203.0.113.5"


async def test_a_reply_is_announced_once(api: Api) -> None:
    """The api channel skips a reply whose only part was placed before."""
    headers = await api.new_key()
    body = {"prompt": "x", "session_id": "s"}
    async with api.session.post(f"{api.url}/chat", json=body, headers=headers) as response:
        assert response.status == 200
    sent = api.engine.sent[0]
    again = RecordedProgress()
    again.parts[0] = "done"

    await api.engine.connector.send(sent, again)

    assert again.begun == []


def test_addresses_are_counted_by_household() -> None:
    """IPv6 by /64: whoever has one has all of its addresses."""
    assert limit_name(ip_address("2001:db8::1")) == limit_name(ip_address("2001:db8::ffff:1"))
    assert limit_name(ip_address("2001:db8::1")) != limit_name(ip_address("2001:db8:0:1::1"))
    assert limit_name(ip_address("192.0.2.1")) != limit_name(ip_address("192.0.2.2"))
    assert limit_name(None) == "local"


async def _json(api: Api, path: str) -> dict[str, str]:
    async with api.session.get(api.url + path) as response:
        found: dict[str, str] = await response.json()
        return found


async def _text(api: Api, path: str) -> str:
    async with api.session.get(api.url + path) as response:
        return await response.text()
