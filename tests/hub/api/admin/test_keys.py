"""API keys by HTTP."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from hub.bus.connection import connect_reader
from hub.database import async_engine
from hub.key_usage import UsageCounter
from hub.messages import utc_now
from hub.settings import ApiSettings
from tests.hub.api.admin.operating import ALL, PREFIX, Operator, holder, operating, signed_in
from tests.hub.api.serving import LOOPBACK, Api, serving
from tests.hub.operators.desk import CHEAP
from tests.servers.redis import RedisServer


async def status_of(api: Api, secret: str, **headers: str) -> int:
    """Ask something with a key."""
    url = f"{api.url}/api/v1/history?session_id=s"
    async with api.session.get(url, headers={"X-API-Key": secret, **headers}) as response:
        return response.status


async def test_a_key_lives_from_beginning_to_end(bare_operator: Operator) -> None:
    """Made and shown once, listed without its secret, changed, rotated, ended."""
    api = bare_operator.api
    admin = await holder(api)
    asked = {"tier": "pro", "label": "billing", "scopes": ["models"], "networks": ["127.0.0.0/8"]}

    status, made = await admin.call("POST", "/keys", asked)
    key = made["key"]
    path, secret = f"/keys/{key['id']}", made["api_key"]

    assert status == 201
    assert secret.startswith(f"{key['prefix']}_")
    assert {name: key[name] for name in asked} == asked
    assert await status_of(api, secret) == 200
    _, shown = await admin.call("GET", path)
    pages = await admin.pages("/keys", limit="2")
    listed = [one for page in pages for one in page]
    assert len({one["id"] for one in listed}) == len(listed) == 3
    assert secret[len(key["prefix"]) :] not in repr([shown, listed])
    assert "hash" not in repr([shown, listed])
    status, changed = await admin.call("PATCH", path, {"label": "other", "expires_at": later(days=9)})
    assert (status, changed["label"], changed["scopes"]) == (200, "other", ["models"])
    status, rotated = await admin.call("POST", f"{path}/rotate", {"overlap_s": 3600})
    assert status == 200
    assert rotated["key"]["old_secret_until"] is not None
    assert [await status_of(api, one) for one in (secret, rotated["api_key"])] == [200, 200]
    _, last = await admin.call("POST", f"{path}/rotate", {"overlap_s": 0})
    assert [await status_of(api, one) for one in (secret, rotated["api_key"], last["api_key"])] == [
        *(401, 401),
        200,
    ]
    assert (await admin.call("DELETE", path))[0] == 204
    assert await status_of(api, last["api_key"]) == 401
    answers = [
        await admin.call("DELETE", path),
        await admin.call("POST", f"{path}/rotate", {}),
    ]
    assert [(code, answer["code"]) for code, answer in answers] == [
        (409, "already_revoked"),
        (409, "not_rotated"),
    ]
    assert (await admin.call("GET", path))[1]["state"] == "revoked"


def later(**span: int) -> str:
    """Give a time to come."""
    return (utc_now() + timedelta(**span)).isoformat()


async def test_nobody_hands_out_more_than_they_have(bare_operator: Operator) -> None:
    """In scopes, tier, networks and time; by making, changing or rotating a key."""
    api = bare_operator.api
    expires_at = utc_now() + timedelta(days=2)
    own = await holder(api, "admin", tier="pro", networks=("127.0.0.0/8", "::1/128"), expires_at=expires_at)
    right = {"tier": "free", "scopes": ["admin"], "networks": ["127.0.0.1/32"], "expires_at": later(days=1)}
    more: list[dict[str, Any]] = [
        {"scopes": ["admin", "models"]},
        {"scopes": ["models"]},
        {"tier": "own"},
        {"networks": []},
        {"networks": ["126.0.0.0/7"]},
        {"networks": ["127.0.0.1/32", "10.0.0.0/8"]},
        {"networks": ["::/0"]},
        {"expires_at": None},
        {"expires_at": later(days=3)},
    ]
    _, mine = await own.call("POST", "/keys", right)
    path = f"/keys/{mine['key']['id']}"
    stronger = await holder(api)
    [their] = [key for key in await api.parts.keys.list() if key.scopes == ALL]

    for excess in more:
        for answer in (
            await own.call("POST", "/keys", right | excess),
            await own.call("PATCH", path, excess),
        ):
            assert (answer[0], answer[1]["code"]) == (403, "more_than_own"), excess
    assert (await own.call("PATCH", path, {"tier": "pro", "networks": ["127.0.0.0/16"]}))[0] == 200
    assert (await own.call("POST", f"/keys/{their.id}/rotate", {}))[0] == 403
    assert (await own.call("PATCH", f"/keys/{their.id}", {"label": "x"}))[0] == 403
    assert (await stronger.call("POST", "/keys", {"tier": "own", "scopes": ["models", "admin"]}))[0] == 201
    # Whoever finds a key that was lost may end it.
    assert (await own.call("DELETE", f"/keys/{their.id}"))[0] == 204


async def test_an_admin_who_is_signed_in_decides_about_keys(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """They have no key that could bound what they hand out."""
    async with operating(redis_server, data, operators=CHEAP) as operator:
        admin = await signed_in(operator.api, "admin")
        status, made = await admin.call("POST", "/keys", {"tier": "own", "scopes": ["models", "admin"]})
        path = f"/keys/{made['key']['id']}"

        assert (status, made["key"]["scopes"]) == (201, ["admin", "models"])
        assert (await admin.call("PATCH", path, {"label": "x"}))[0] == 200
        assert (await admin.call("POST", f"{path}/rotate", {}))[0] == 200


async def test_keys_are_asked_for_strictly(bare_operator: Operator) -> None:
    """Fields there are not, tiers and scopes there are not, what is no network, times that are over."""
    admin = await holder(bare_operator.api)
    _, made = await admin.call("POST", "/keys", {"tier": "free"})
    path = f"/keys/{made['key']['id']}"
    wrong: list[dict[str, Any]] = [
        {"tier": "gold"},
        {"tier": "FREE"},
        {"tier": None},
        {"scopes": ["root"]},
        {"scopes": "admin"},
        {"networks": ["10.0.0.1/8"]},
        {"networks": ["evil.example"]},
        {"networks": ["10.0.0.0/8"] * 51},
        {"expires_at": later(days=-1)},
        {"expires_at": "9999-12-31T00:00:00Z"},
        {"expires_at": "2100-01-01"},
        {"expires_at": 4_000_000_000},
        {"label": "x" * 201},
        {"label": "a\nb"},
        {"label": "\u202eevil"},
        {"id": "0" * 12},
        {"hash": "0" * 64},
    ]

    for one in wrong:
        assert (await admin.call("POST", "/keys", {"tier": "free"} | one))[0] == 422, one
        assert (await admin.call("PATCH", path, one))[0] == 422, one
    for changes in ({}, {"label": None}, {"networks": None}):
        assert (await admin.call("PATCH", path, changes))[0] == 422, changes
    for overlap in (-1, 2_592_001, "1", 1.0, True, None):
        assert (await admin.call("POST", f"{path}/rotate", {"overlap_s": overlap}))[0] == 422, overlap
    for query in (
        {"from": "2026-02-02", "to": "2026-02-01"},
        {"from": "2026-02-30"},
        {"from": "1999-01-01"},
        {"to": "9999-01-01"},
        {"from": "2010-01-01", "to": "2026-01-01"},
        {"from": "1"},
    ):
        assert (await admin.call("GET", f"{path}/usage", query=query))[0] == 422, query
    assert (await admin.call("GET", f"{path}/usage", query={"first": "2026-01-01"}))[0] == 400
    assert (await admin.call("GET", "/keys", query={"cursor": "MjAyNi0wMS0wMSAw"}))[0] == 400
    assert len((await admin.pages("/keys"))[0]) == 3


async def test_a_change_is_made_for_the_version_that_was_seen(bare_operator: Operator) -> None:
    """Where a request names one; of changes at once that name the same, one is made."""
    admin = await holder(bare_operator.api)
    _, made = await admin.call("POST", "/keys", {"tier": "free"})
    path, seen = f"/keys/{made['key']['id']}", made["key"]["version"]
    named = Operator(admin.api, {**admin.headers, "If-Match": f'"{seen}"'})

    answers = await asyncio.gather(*(named.call("PATCH", path, {"label": f"n{n}"}) for n in range(6)))
    late = await named.call("PATCH", path, {"tier": "pro"})
    free = await admin.call("PATCH", path, {"tier": "pro"})

    assert sorted(status for status, _ in answers) == [200] + [412] * 5
    assert (late[0], late[1]["code"]) == (412, "stale")
    assert (free[0], free[1]["tier"]) == (200, "pro")
    assert free[1]["version"] != seen


async def test_usage_is_what_was_answered(
    bare_operator: Operator, redis_server: RedisServer, data: Path
) -> None:
    """Each answered message once, with the tokens it took; other keys apart."""
    api = bare_operator.api
    admin = await holder(api)
    await api.start_engine()
    _, made = await admin.call("POST", "/keys", {"tier": "own"})
    headers = {"X-API-Key": made["api_key"]}
    for number in range(3):
        async with api.session.post(
            f"{api.url}/api/v1/chat", json={"prompt": f"n{number}"}, headers=headers
        ) as response:
            assert response.status == 200, await response.text()
    engine, reader = async_engine(f"sqlite:///{data / 'hubbub.db'}"), connect_reader(redis_server.url)
    await UsageCounter(reader, engine).catch_up()
    await reader.aclose()
    await engine.dispose()

    status, used = await admin.call("GET", f"/keys/{made['key']['id']}/usage")
    today = utc_now().date()
    tomorrow = {"from": str(today + timedelta(days=1)), "to": str(today + timedelta(days=1))}
    _, none = await admin.call("GET", f"/keys/{made['key']['id']}/usage", query=tomorrow)

    assert status == 200
    assert {name: used[name] for name in ("requests", "prompt_tokens", "answer_tokens")} == {
        "requests": 3,
        "prompt_tokens": 21,
        "answer_tokens": 9,
    }
    assert [(one["model"], one["requests"]) for one in used["items"]] == [("echo", 3)]
    assert (none["requests"], none["items"]) == (0, [])
    assert (await admin.call("GET", "/keys/000000000000/usage"))[0] == 404


async def test_a_key_opens_from_its_networks_alone(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """By the address that a trusted proxy tells; wrong addresses are counted like wrong keys."""
    settings = ApiSettings(port=0, trusted_proxies=LOOPBACK)
    async with serving(redis_server.url, data, api=settings) as api:
        secret = (await api.parts.keys.create("own", networks=("203.0.113.0/24",))).text
        anywhere = (await api.parts.keys.create("own")).text

        async def asked(key: str, address: str) -> int:
            return await status_of(api, key, **{"X-Forwarded-For": address})

        assert await asked(secret, "203.0.113.9") == 200
        assert await asked(secret, "198.51.100.9") == 403
        assert await asked(anywhere, "198.51.100.9") == 200
        assert await status_of(api, secret) == 403
        statuses = [await asked(secret, "198.51.100.7") for _ in range(21)]
        assert statuses == [403] * 20 + [429]
        url = f"{api.url}/ws/generate".replace("http", "ws")
        outside = {"X-API-Key": secret, "X-Forwarded-For": "198.51.100.8"}
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await api.session.ws_connect(url, headers=outside)


async def test_new_secrets_are_kept_by_nobody_on_the_way(bare_operator: Operator) -> None:
    """No proxy and no browser stores an answer that holds one."""
    admin = await holder(bare_operator.api)
    async with admin.api.session.post(
        f"{admin.api.url}{PREFIX}/keys", json={"tier": "free"}, headers=admin.headers
    ) as response:
        key = (await response.json())["key"]["id"]
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Location"] == f"{PREFIX}/keys/{key}"
