"""Signing in over HTTP: tokens, cookies, and whoever guesses."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import CookieJar
from redis.asyncio import Redis

from hub.api.admin.session import REFUSAL_S
from hub.api.admin.sign_in import FROM_ADDRESS, NAME_FROM_ADDRESS, NAME_FROM_ELSEWHERE, RECORDED
from hub.api.operator_auth import ACCESS_COOKIE, REFRESH_COOKIE
from hub.operators.passwords import PasswordsBusy
from hub.operators.store import Change
from hub.settings import ApiSettings, Settings
from tests.hub.api.admin.operating import PREFIX
from tests.hub.api.admin.signing_in import REFRESH, SESSION, Person, operators_of, person
from tests.hub.api.serving import LOOPBACK, Api, serving
from tests.hub.operators.desk import CHEAP, OTHER_PASSWORD, PASSWORD
from tests.servers.redis import RedisServer

GAPS = f"{PREFIX}/gaps"
PASSWORD_PATH = f"{SESSION}/password"


@pytest.fixture
async def proxied(redis: Redis, redis_server: RedisServer, data: Path) -> AsyncIterator[Api]:
    """A server that believes where the tests say that they are."""
    settings = Settings(data=data, bus={"redis_url": redis_server.url}, operators=CHEAP)
    api = ApiSettings(port=0, trusted_proxies=LOOPBACK)
    async with serving(redis_server.url, data, admin=settings, api=api) as running:
        yield running


@pytest.fixture
async def ana(proxied: Api) -> Person:
    """An admin."""
    return await person(proxied, "ana", "admin", address="192.0.2.1")


async def test_whoever_signs_in_may_what_their_role_says(ana: Person) -> None:
    """And sees who they are."""
    status, given = await ana.sign_in()

    assert (status, given["operator"]["name"], given["operator"]["role"]) == (200, "ana", "admin")
    assert 590 <= given["expires_in"] <= 600
    assert await ana.send("GET", GAPS) == (200, {"items": [], "next": None})
    status, who = await ana.send("GET", SESSION)
    assert (status, who["kind"], who["role"], who["operator"]["id"]) == (
        200,
        "operator",
        "admin",
        ana.account.id,
    )
    assert "password_hash" not in str(given) + str(who)
    assert PASSWORD not in str(given)


async def test_the_same_is_said_to_everybody_who_may_not(proxied: Api, ana: Person) -> None:
    """A wrong password, a name that nobody has, and a disabled account cannot be told apart."""
    ben = await person(proxied, "ben", "viewer", address="192.0.2.2")
    await operators_of(proxied).store.change(ben.account.id, Change(disabled=True))

    answers = [
        await ana.sign_in(OTHER_PASSWORD),
        await ana.sign_in(PASSWORD, name="nobody"),
        await ana.sign_in(PASSWORD, name="ANA"),
        await ana.sign_in(PASSWORD, name="x" * 1000),
        await ben.sign_in(),
    ]

    assert {status for status, _ in answers} == {401}
    assert len({json.dumps(answer | {"request_id": ""}) for _, answer in answers}) == 1
    assert answers[0][1]["code"] == "wrong_credentials"


async def test_refusals_take_as_long_whether_anybody_has_the_name(ana: Person) -> None:
    """About a name that somebody has, an entry is written; nobody learns from the clock which ones those are."""
    clock = asyncio.get_running_loop().time
    for name in ("ana", "nobody"):
        began = clock()
        assert (await ana.sign_in(OTHER_PASSWORD, name=name))[0] == 401
        assert clock() - began >= REFUSAL_S


async def test_odd_bodies_sign_nobody_in(ana: Person) -> None:
    """Each is refused, and none breaks anything."""
    name, password = {"name": "ana"}, {"password": PASSWORD}
    bodies: list[tuple[Any, int]] = [
        (name, 422),
        (name | {"password": None}, 422),
        (name | {"password": 12}, 422),
        (password | {"name": ["ana"]}, 422),
        (name | password | {"role": "admin"}, 422),
        (name | {"password": "x" * 1025}, 422),
        (name | {"password": "x" * 1024}, 401),
        (password | {"name": "ana\u0000"}, 401),
        (name | password | {"cookie": "yes"}, 422),
        ([], 422),
    ]

    for body, status in bodies:
        assert (await ana.send("POST", SESSION, body))[0] == status, body


async def test_tokens_follow_each_other_and_an_old_one_ends_them_all(ana: Person) -> None:
    """As a thief and an operator with the same token would have it."""
    await ana.sign_in()
    first = ana.tokens
    assert (await ana.refresh())[0] == 200
    second = ana.tokens
    assert (await ana.send("GET", GAPS))[0] == 200

    status, answer = await ana.refresh(first["refresh_token"])

    assert (status, answer["code"]) == (401, "wrong_credentials")
    assert (await ana.send("GET", GAPS, token=second["access_token"]))[0] == 401
    assert (await ana.refresh(second["refresh_token"]))[0] == 401
    assert (await ana.sign_in())[0] == 200


async def test_an_old_token_does_not_fill_the_audit_log(ana: Person) -> None:
    """That somebody has it is written; how often they send it is not."""
    await ana.sign_in()
    old = ana.tokens["refresh_token"]
    await ana.refresh()

    assert {(await ana.refresh(old))[0] for _ in range(RECORDED.requests + 5)} == {401}

    await ana.sign_in()
    _, listed = await ana.send("GET", f"{PREFIX}/audit?change=session_ended&limit=200")
    assert len(listed["items"]) == RECORDED.requests


async def test_signing_out_ends_this_session_alone(ana: Person) -> None:
    """Another one of the same operator goes on."""
    await ana.sign_in()
    other = ana.tokens
    await ana.sign_in()

    assert (await ana.send("DELETE", SESSION))[0] == 204

    assert (await ana.send("GET", GAPS))[0] == 401
    assert (await ana.refresh())[0] == 401
    assert (await ana.send("GET", GAPS, token=other["access_token"]))[0] == 200


@pytest.mark.parametrize(
    "change", [Change(disabled=True), Change(role="viewer"), Change(password=OTHER_PASSWORD)]
)
async def test_whoever_is_changed_is_out_at_once(proxied: Api, ana: Person, change: Change) -> None:
    """With the very next request."""
    ben = await person(proxied, "ben", "operator", address="192.0.2.2")
    await ben.sign_in()
    assert (await ben.send("GET", GAPS))[0] == 200

    await operators_of(proxied).store.change(ben.account.id, change)

    assert (await ben.send("GET", GAPS))[0] == 401
    assert (await ben.refresh())[0] == 401


async def test_a_password_of_ones_own_is_changed_with_the_one_so_far(ana: Person) -> None:
    """And every session ends; a stolen one cannot guess it."""
    await ana.sign_in()

    wrong = await ana.send("PUT", PASSWORD_PATH, {"password": OTHER_PASSWORD, "new_password": OTHER_PASSWORD})
    short = await ana.send("PUT", PASSWORD_PATH, {"password": PASSWORD, "new_password": "short"})
    done = await ana.send("PUT", PASSWORD_PATH, {"password": PASSWORD, "new_password": OTHER_PASSWORD})

    assert (wrong[0], wrong[1]["code"]) == (403, "wrong_password")
    assert (short[0], short[1]["errors"][0]["field"]) == (422, "new_password")
    assert "at least 12" in short[1]["errors"][0]["message"]
    assert done == (204, None)
    assert (await ana.send("GET", GAPS))[0] == 401
    assert (await ana.sign_in())[0] == 401
    assert (await ana.sign_in(OTHER_PASSWORD))[0] == 200
    tried = [
        await ana.send("PUT", PASSWORD_PATH, {"password": PASSWORD, "new_password": PASSWORD})
        for _ in range(3)
    ]
    assert [status for status, _ in tried] == [403, 403, 429]


# -- cookies -----------------------------------------------------------------------------------------------


async def test_cookies_are_for_the_browser_alone(proxied: Api, ana: Person) -> None:
    """No script reads them, no other site and no other path gets them, and the answer holds no token."""
    body = {"name": "ana", "password": PASSWORD, "cookie": True}
    async with proxied.session.post(proxied.url + SESSION, json=body) as response:
        answer = await response.json()

    assert (answer["access_token"], answer["refresh_token"]) == (None, None)
    for name, path in ((ACCESS_COOKIE, PREFIX), (REFRESH_COOKIE, SESSION)):
        cookie = response.cookies[name]
        assert cookie.value not in str(answer)
        assert (cookie["httponly"], cookie["secure"], cookie["samesite"]) == (True, True, "Strict")
        assert (cookie["path"], cookie["domain"]) == (path, "")
        assert 0 < int(cookie["max-age"]) <= 3600


async def _in_browser(proxied: Api) -> tuple[dict[str, str], str]:
    body = {"name": "ana", "password": PASSWORD, "cookie": True}
    async with proxied.session.post(proxied.url + SESSION, json=body) as response:
        csrf = (await response.json())["csrf_token"]
    names = (ACCESS_COOKIE, REFRESH_COOKIE)
    return {"Cookie": "; ".join(f"{name}={response.cookies[name].value}" for name in names)}, csrf


async def test_a_cookie_alone_changes_nothing(proxied: Api, ana: Person) -> None:
    """Only a page that was told the CSRF token can, and only one of the hub's own."""
    proxied.session._cookie_jar = CookieJar(unsafe=True)
    cookies, csrf = await _in_browser(proxied)
    own, gap = f"http://127.0.0.1:{proxied.port}", f"{GAPS}/7"
    tries: list[tuple[dict[str, str], int]] = [
        ({}, 403),
        ({"X-CSRF-Token": ""}, 403),
        ({"X-CSRF-Token": csrf[:-1]}, 403),
        ({"X-CSRF-Token": "é"}, 403),
        ({"X-CSRF-Token": csrf, "Origin": "https://evil.example"}, 403),
        ({"X-CSRF-Token": csrf, "Origin": "null"}, 403),
        ({"X-CSRF-Token": csrf, "Sec-Fetch-Site": "cross-site"}, 403),
        ({"X-CSRF-Token": csrf, "Sec-Fetch-Site": "same-site"}, 403),
        ({"X-CSRF-Token": csrf, "Origin": own, "Sec-Fetch-Site": "same-origin"}, 404),
        ({"X-CSRF-Token": csrf}, 404),
    ]

    for headers, expected in tries:
        status, answer = await ana.send("DELETE", gap, headers=cookies | headers)
        assert (status, answer["code"]) == (expected, "csrf" if expected == 403 else "not_found"), headers
    assert (await ana.send("GET", GAPS, headers=cookies))[0] == 200


async def test_a_browser_gets_its_next_cookies_and_signs_out(proxied: Api, ana: Person) -> None:
    """With the CSRF token; without it the refresh token stays good."""
    cookies, csrf = await _in_browser(proxied)

    refused = await ana.send("POST", REFRESH, {}, headers=cookies)
    given = await ana.send("POST", REFRESH, {}, headers=cookies | {"X-CSRF-Token": csrf})
    reused = await ana.send("POST", REFRESH, {}, headers=cookies | {"X-CSRF-Token": csrf})
    nothing = await ana.send("POST", REFRESH, {})

    assert (refused[0], refused[1]["code"]) == (403, "csrf")
    assert (given[0], given[1]["access_token"], given[1]["csrf_token"]) == (200, None, csrf)
    assert (reused[0], nothing[0]) == (401, 401)
    cookies, csrf = await _in_browser(proxied)
    url, headers = proxied.url + SESSION, cookies | {"X-CSRF-Token": csrf}
    async with proxied.session.delete(url, headers=headers) as response:
        assert response.status == 204
        assert {response.cookies[name]["max-age"] for name in (ACCESS_COOKIE, REFRESH_COOKIE)} == {"0"}
    assert (await ana.send("GET", GAPS, headers=cookies))[0] == 401


async def test_a_page_of_another_site_signs_nobody_in(ana: Person) -> None:
    """A visitor would work in somebody else's name then."""
    body = {"name": "ana", "password": PASSWORD, "cookie": True}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        status, answer = await ana.send("POST", SESSION, body, headers=headers)
        assert (status, answer["code"]) == (403, "origin_not_allowed")


async def test_a_header_counts_and_not_the_cookie_beside_it(proxied: Api, ana: Person) -> None:
    """What a program says on purpose is what it means; a key is no token, and two are none."""
    cookies, _ = await _in_browser(proxied)
    await ana.sign_in()
    token = ana.tokens["access_token"]
    key = await proxied.new_key("own", "admin")

    assert (await ana.send("DELETE", f"{GAPS}/7", headers=cookies))[0] == 404
    assert (await ana.send("GET", GAPS, token="x", headers=cookies))[0] == 401
    assert (await ana.send("GET", GAPS, token="", headers=cookies | key))[0] == 200
    assert (await ana.send("GET", GAPS, headers=key))[0] == 401
    assert (await ana.send("GET", GAPS, token="", headers={"X-API-Key": token}))[0] == 401
    assert (await ana.send("GET", f"{GAPS}?access_token={token}", token=""))[0] == 401


# -- whoever guesses ---------------------------------------------------------------------------------------


async def test_one_address_cannot_try_for_long(ana: Person) -> None:
    """Neither one name after the other nor one of them again and again; it is told how long to wait."""
    tried = [await ana.sign_in("wrong password", name=f"name{number}") for number in range(21)]
    ben = Person(ana.api, ana.account, "192.0.2.9")
    again = [await ben.sign_in("wrong password") for _ in range(11)]

    assert [status for status, _ in tried] == [401] * FROM_ADDRESS.requests + [429]
    assert [status for status, _ in again] == [401] * NAME_FROM_ADDRESS.requests + [429]
    assert tried[-1][1]["code"] == "too_many_failures"


async def test_many_addresses_cannot_guess_a_name_and_cannot_shut_its_operator_out(ana: Person) -> None:
    """Where the operator has signed in before, the right password is taken all the while."""
    assert (await ana.sign_in())[0] == 200
    thieves = [
        Person(ana.api, ana.account, f"198.51.100.{number}")
        for number in range(NAME_FROM_ELSEWHERE.requests + 5)
    ]

    tried = [(await thief.sign_in("wrong password"))[0] for thief in thieves]
    elsewhere = await Person(ana.api, ana.account, "203.0.113.7").sign_in()

    # Her own first one was from elsewhere, too.
    assert tried == [401] * (NAME_FROM_ELSEWHERE.requests - 1) + [429] * 6
    assert elsewhere[0] == 429
    assert (await ana.sign_in())[0] == 200
    # Whoever has signed in notices nothing.
    assert (await ana.send("GET", GAPS))[0] == 200
    other = await person(ana.api, "ben", "viewer", address="198.51.100.1")
    assert (await other.sign_in())[0] == 200


async def test_forged_tokens_are_counted_and_old_ones_are_not(ana: Person) -> None:
    """Somebody whose token has run out is not told to wait."""
    await ana.sign_in()
    token = ana.tokens["access_token"]
    await ana.send("DELETE", SESSION)
    old = {(await ana.send("GET", GAPS, token=token))[0] for _ in range(25)}
    signature = token.rpartition(".")[2]
    forged = token.removesuffix(signature) + ("A" if signature[0] != "A" else "B") + signature[1:]

    tried = [(await ana.send("GET", GAPS, token=forged))[0] for _ in range(21)]

    assert old == {401}
    assert tried == [401] * 20 + [429]


async def test_whoever_comes_when_too_many_sign_in_is_asked_to_come_again(
    ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No password is checked then."""

    async def busy(*_: object) -> None:
        raise PasswordsBusy

    monkeypatch.setattr(operators_of(ana.api).passwords, "matches", busy)

    status, answer = await ana.sign_in()

    assert (status, answer["code"]) == (503, "busy")


async def test_an_operator_has_a_limit_of_their_own(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """Over all sessions, told in the same headers as that of a key."""
    few = CHEAP.model_copy(update={"requests_per_minute": 3})
    settings = Settings(data=data, bus={"redis_url": redis_server.url}, operators=few)
    async with serving(redis_server.url, data, admin=settings) as api:
        ana = await person(api, "ana", "viewer")
        await ana.sign_in()
        first = [(await ana.send("GET", GAPS))[0] for _ in range(2)]
        await ana.sign_in()
        second = [(await ana.send("GET", GAPS)) for _ in range(2)]

    assert first == [200, 200]
    assert [status for status, _ in second] == [200, 429]
    assert second[1][1]["code"] == "rate_limited"


async def test_many_sign_in_at_once(ana: Person) -> None:
    """Each gets a session of their own."""
    people = [
        await person(ana.api, f"p{number}", "viewer", address=f"203.0.113.{number}") for number in range(8)
    ]

    answers = await asyncio.gather(*(one.sign_in() for one in people))

    assert [status for status, _ in answers] == [200] * 8
    seen = await asyncio.gather(*(one.send("GET", SESSION) for one in people))
    assert [who["operator"]["name"] for _, who in seen] == [one.account.name for one in people]
