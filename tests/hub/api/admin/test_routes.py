"""Every operators' route: who may call it, and what every one of them refuses alike."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.api.admin.routes import admin_routes
from hub.keys import ADMIN_SCOPE
from hub.operators.store import Change
from hub.settings import KeySettings, Settings, TierSettings
from tests.hub.api.admin.operating import PREFIX, Operator, signed_in
from tests.hub.api.admin.signing_in import operators_of
from tests.hub.api.serving import Api, exchange, serving
from tests.hub.operators.desk import CHEAP, OTHER_PASSWORD, PASSWORD
from tests.servers.redis import RedisServer

ROUTES: list[tuple[str, str, Any, int]] = [
    ("GET", "/collections", None, 200),
    ("PUT", "/collections/{collection}", {"audience": "public"}, 201),
    ("DELETE", "/collections/{collection}", None, 200),
    ("GET", "/collections/{collection}/documents", None, 404),
    ("PUT", "/collections/{collection}/documents", None, 422),
    ("DELETE", "/collections/{collection}/documents/{document}", None, 404),
    ("GET", "/gaps", None, 200),
    ("DELETE", "/gaps/{gap}", None, 404),
    ("GET", "/people", None, 200),
    ("GET", "/people/{person}", None, 404),
    ("GET", "/people/{person}/export", None, 404),
    ("PUT", "/people/{person}/facts/{fact}", {"text": "Ana"}, 404),
    ("DELETE", "/people/{person}/facts/{fact}", None, 404),
    ("GET", "/erasures", None, 200),
    ("POST", "/erasures", {"identities": ["telegram/1/2"]}, 202),
    ("GET", "/erasures/{erasure}", None, 404),
    ("GET", "/session", None, 200),
    ("DELETE", "/session", None, 409),
    ("PUT", "/session/password", {"password": PASSWORD, "new_password": OTHER_PASSWORD}, 409),
    ("GET", "/operators", None, 200),
    ("POST", "/operators", {"name": "ana", "role": "operator", "password": PASSWORD}, 201),
    ("GET", "/operators/{operator}", None, 404),
    ("PATCH", "/operators/{operator}", {"role": "viewer"}, 404),
    ("DELETE", "/operators/{operator}", None, 404),
    ("GET", "/audit", None, 200),
    ("GET", "/conversations", None, 200),
    ("GET", "/conversations/{conversation}", None, 404),
    ("GET", "/conversations/{conversation}/turns", None, 404),
    ("POST", "/conversations/{conversation}/cancel", {}, 200),
    ("POST", "/conversations/{conversation}/messages", {"text": "Hello."}, 404),
    ("GET", "/dead", None, 200),
    ("GET", "/dead/{letter}", None, 404),
    ("POST", "/dead/{letter}/replay", None, 404),
    ("DELETE", "/dead/{letter}", None, 404),
    ("POST", "/dead", {"action": "replay", "all": True}, 200),
    ("GET", "/events", None, 200),
    ("GET", "/keys", None, 200),
    ("POST", "/keys", {"tier": "free"}, 201),
    ("GET", "/keys/{key}", None, 404),
    ("PATCH", "/keys/{key}", {"label": "x"}, 404),
    ("DELETE", "/keys/{key}", None, 404),
    ("POST", "/keys/{key}/rotate", {}, 404),
    ("GET", "/keys/{key}/usage", None, 404),
    ("GET", "/models", None, 503),
    ("POST", "/models/load", {"model": "general"}, 503),
    ("POST", "/models/unload", {"model": "general"}, 503),
    ("POST", "/models/provision", {"repo": "owner/name"}, 202),
    ("GET", "/models/provision/{job}", None, 404),
    ("GET", "/settings", None, 200),
    ("GET", "/egress", None, 200),
]
"""Method, path, a body that is right, and what an operator of an empty hub is answered when they come in this order."""
WITH_JSON = [(method, path) for method, path, body, _ in ROUTES if body is not None]
LISTS = ["/collections", "/collections/documents/documents", "/gaps", "/people", "/erasures"]
LISTS += ["/conversations", "/dead", "/events", "/keys", "/operators", "/audit"]


def filled(path: str) -> str:
    """Name things that are not there."""
    names = "collection document gap person fact erasure operator conversation letter key job"
    for name in names.split():
        path = path.replace(f"{{{name}}}", "7")
    return PREFIX + path


async def call(api: Api, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
    """Send a request; returns status and answer."""
    async with api.session.request(method, api.url + filled(path), json=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def test_the_table_holds_every_route(bare_operator: Operator) -> None:
    """So that none is forgotten below."""
    routes = {
        (route.method, route.path.removeprefix(PREFIX))
        for route in admin_routes(bare_operator.api.parts)
        # Signing in has tests of its own.
        if route.access.needs_key
    }

    assert routes == {(method, path) for method, path, _, _ in ROUTES}


async def test_a_wrong_key_is_told_what_none_is(
    bare_operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key, wrong keys, the key's digest; of each route the same."""
    # No engine is going to answer.
    monkeypatch.setattr("hub.api.registry.LIST_TIMEOUT_S", 0.1)
    api = bare_operator.api
    text = bare_operator.headers["X-API-Key"]
    strangers = {
        "none": {},
        "wrong": {"X-API-Key": text[:-2] + ("xx" if text[-2:] != "xx" else "yy")},
        "digest": {"X-API-Key": hashlib.sha256(text.encode()).hexdigest()},
    }

    # Wrong keys of one address are counted, so each route gets a minute of its own.
    for method, path, body, expected in ROUTES:
        answers = {name: await call(api, method, path, body, headers) for name, headers in strangers.items()}
        await _forget_failures(api)
        for status, answer in answers.values():
            assert (status, answer["code"]) == (401, "unauthorized"), (method, path)
        assert len({json.dumps({**answer, "request_id": ""}) for _, answer in answers.values()}) == 1
        status, _ = await call(api, method, path, body, bare_operator.headers)
        assert status == expected, (method, path)


async def _forget_failures(api: Api) -> None:
    client: Any = api.parts.bus.redis
    keys = [key async for key in client.scan_iter("hubbub:{0}:limit:auth:*")]
    if keys:
        await client.delete(*keys)


async def test_a_revoked_key_is_none(bare_operator: Operator) -> None:
    """At once."""
    made = await bare_operator.api.parts.keys.create("own", scopes=(ADMIN_SCOPE,))
    headers = {"X-API-Key": made.text}
    before = (await call(bare_operator.api, "GET", "/collections", None, headers))[0]

    await bare_operator.api.parts.keys.revoke(made.key.id)

    assert before == 200
    assert (await call(bare_operator.api, "GET", "/collections", None, headers))[0] == 401


async def test_a_key_in_the_query_is_not_taken(bare_operator: Operator) -> None:
    """Addresses end in logs and histories."""
    key = bare_operator.headers["X-API-Key"]
    url = f"{bare_operator.api.url}{PREFIX}/collections"

    async with bare_operator.api.session.get(url, params={"api_key": key}) as response:
        assert response.status == 401


async def test_self_service_gives_no_scope(bare_operator: Operator) -> None:
    """Whatever is asked for beside the tier."""
    api = bare_operator.api
    answers = []
    for query in ("", "&scope=admin", "&scopes=admin"):
        async with api.session.post(f"{api.url}/generate-key?tier=pro{query}") as response:
            answers.append((response.status, await response.json()))

    assert [status for status, _ in answers] == [200, 400, 400]
    headers = {"X-API-Key": answers[0][1]["api_key"]}
    assert (await call(api, "GET", "/people", None, headers))[0] == 403


async def test_the_limit_of_a_key_holds_here_too(redis: Redis, redis_server: RedisServer, data: Path) -> None:
    """Counted before rights are looked at, whatever a proxy's header says."""
    keys = KeySettings(tiers={"own": TierSettings(limit=2)}, self_service=False)
    settings = Settings(data=data, bus={"redis_url": redis_server.url})
    async with serving(redis_server.url, data, keys=keys, admin=settings) as api:
        headers = await api.new_key("own", ADMIN_SCOPE)
        statuses = []
        for number in range(4):
            sent = {**headers, "X-Forwarded-For": f"10.0.0.{number}"}
            async with api.session.get(f"{api.url}{PREFIX}/collections", headers=sent) as response:
                statuses.append((response.status, "Retry-After" in response.headers))

    assert statuses == [(200, False), (200, False), (429, True), (429, True)]


BODIES = [
    (b"", "application/json", 400),
    (b"\xef\xbb\xbf{}", "application/json", 400),
    (b'{"a": NaN}', "application/json", 400),
    (b'{"audience": "public", "audience": "operator"}', "application/json", 400),
    (b"[" * 5000, "application/json", 400),
    (b'{"a": ' + b"9" * 5000 + b"}", "application/json", 400),
    (b"\xff\xfe{\x00}\x00", "application/json", 400),
    (b"{}", "text/xml", 415),
    (b"{}", "application/json; charset=utf-16", 415),
    (b"x=1", "application/x-www-form-urlencoded", 415),
    (b"[]", "application/json", 422),
    (b"null", "application/json", 422),
    (b'{"unknown": 1}', "application/json", 422),
]


@pytest.mark.parametrize(("method", "path"), WITH_JSON)
async def test_bodies_are_read_strictly(bare_operator: Operator, method: str, path: str) -> None:
    """One meaning only, and nothing happens."""
    url = bare_operator.api.url + filled(path)
    for body, media_type, status in BODIES:
        headers = {**bare_operator.headers, "Content-Type": media_type}
        async with bare_operator.api.session.request(method, url, data=body, headers=headers) as response:
            answer = await response.json()
            assert response.status == status, (body[:30], answer)
            assert response.content_type == "application/problem+json"
            assert answer["request_id"] == response.headers["X-Request-ID"]
    assert (await bare_operator.pages("/erasures"))[0] == []


@pytest.mark.parametrize("path", LISTS)
async def test_pages_are_asked_for_strictly(bare_operator: Operator, path: str) -> None:
    """Limits out of range, cursors that were made up, fields there are not."""
    for query, status in (
        ({"limit": "0"}, 422),
        ({"limit": "201"}, 422),
        ({"limit": "1.0"}, 422),
        ({"limit": "-1"}, 422),
        ({"limit": "ten"}, 422),
        ({"sort": "name"}, 400),
        ({"cursor": "%%%"}, 400),
        ({"cursor": "/wAA"}, 400),
        ({"cursor": "🙂"}, 400),
        ({"cursor": "x" * 401}, 422),
        ({"limit": "200"}, 200),
    ):
        got, answer = await bare_operator.call("GET", path, query=query)
        assert got == status, (path, query, answer)


@pytest.mark.parametrize(
    "path",
    [
        "/people/{id}",
        "/people/{id}/export",
        "/erasures/{id}",
        "/operators/{id}",
        "/conversations/{id}",
        "/conversations/{id}/turns",
        "/dead/{id}",
        "/keys/{id}",
        "/keys/{id}/usage",
        "/collections/{id}/documents",
    ],
)
async def test_odd_ids_are_not_there(bare_operator: Operator, path: str) -> None:
    """No key of Redis, no file and no statement is made of them."""
    for odd in (
        "1%20OR%201=1",
        "%2e%2e",
        "..%2fx",
        "x" * 300,
        "%F0%9F%99%82",
        "a%00b",
        "a:b",
        "%7B0%7D",
        "*",
        "%FF",
    ):
        target = PREFIX + path.replace("{id}", odd)
        request = (
            f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"X-API-Key: {bare_operator.headers['X-API-Key']}\r\n\r\n"
        )
        answer = await exchange(bare_operator.api.port, request.encode())
        assert answer.split(b" ")[1] in (b"400", b"404"), (odd, answer[:200])


async def test_methods_and_paths_that_are_not_there(bare_operator: Operator) -> None:
    """404 or 405 before anything else is looked at, and no page of another site may read."""
    api = bare_operator.api
    for method, path, status in (
        ("POST", "/collections", 405),
        ("HEAD", "/collections", 405),
        ("OPTIONS", "/people", 405),
        ("TRACE", "/people", 405),
        ("PATCH", "/collections/x", 405),
        ("GET", "/collections/", 404),
        ("GET", "/collections/x", 405),
        ("GET", "//people", 404),
        ("GET", "", 404),
        ("GET", "/key", 404),
    ):
        headers = {"Origin": "https://evil.example"}
        async with api.session.request(method, f"{api.url}{PREFIX}{path}", headers=headers) as response:
            assert response.status == status, (method, path)
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_without_redis_everything_asks_to_come_again(
    redis_server: RedisServer, tmp_path: Path, data: Path
) -> None:
    """What is asked with a key is counted in Redis, so it is 503 with a time to come again, never 500."""
    with RedisServer(tmp_path) as server:
        settings = Settings(data=data, bus={"redis_url": server.url})
        async with serving(server.url, data, admin=settings) as api:
            headers = await api.new_key("own", ADMIN_SCOPE)
            await asyncio.to_thread(server.kill)

            async def refused(method: str, path: str, body: Any) -> tuple[int, bool]:
                async with api.session.request(
                    method, api.url + filled(path), json=body, headers=headers
                ) as response:
                    return response.status, "Retry-After" in response.headers

            # All at once: each waits for a while whether Redis comes back.
            answers = await asyncio.gather(*(refused(*route[:3]) for route in ROUTES))
            assert answers == [(503, True)] * len(ROUTES)


FROM_THE_DATABASE = {
    "/collections", "/collections/{collection}/documents", "/gaps", "/session", "/operators", "/operators/{operator}",
    "/audit", "/conversations", "/conversations/{conversation}", "/conversations/{conversation}/turns", "/keys", "/keys/{key}", "/keys/{key}/usage",
    "/settings",
}  # fmt: skip
"""What operators see while Redis is away: all that does not lie in it."""


async def test_without_redis_operators_see_what_the_database_holds(tmp_path: Path, data: Path) -> None:
    """Whoever is signed in reads on; whoever is not, or was shut out meanwhile, is refused; nothing is changed."""
    with RedisServer(tmp_path) as server:
        settings = Settings(data=data, bus={"redis_url": server.url}, operators=CHEAP)
        async with serving(server.url, data, admin=settings) as api:
            admin, gone = await signed_in(api, "admin"), await signed_in(api, "viewer")
            await asyncio.to_thread(server.kill)
            [viewer] = await operators_of(api).store.all(role="viewer")
            await operators_of(api).store.change(viewer.id, Change(disabled=True))

            # All at once: each waits for a while whether Redis comes back.
            statuses = await asyncio.gather(
                *(call(api, method, path, body, admin.headers) for method, path, body, _ in ROUTES),
                call(api, "GET", "/collections", None, gone.headers),
                call(api, "GET", "/collections", None, {"Authorization": "Bearer wrong"}),
            )

    answered = {
        (method, path)
        for (method, path, _, expected), (status, _) in zip(ROUTES, statuses, strict=False)
        if status == expected != 503
    }
    # What is no id is refused without a look.
    assert answered - {("GET", "/dead/{letter}")} == {("GET", path) for path in FROM_THE_DATABASE}
    assert {status for status, _ in statuses} == {200, 404, 401, 503}
    assert [(status, answer["code"]) for status, answer in statuses[-2:]] == [
        (401, "unauthorized"),
        (503, "unavailable"),
    ]


async def test_a_process_that_is_told_nothing_offers_nothing(bare_api: Api) -> None:
    """Then the routes are not there."""
    assert admin_routes(bare_api.parts) == []
    assert (await call(bare_api, "GET", "/collections", None, await bare_api.new_key("own", ADMIN_SCOPE)))[
        0
    ] == 404
