"""Who may call what: every route by everybody, compared with a table that is written out here; and the audit log of it all."""

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from redis.asyncio import Redis
from sqlalchemy import select

from hub.api.operator_auth import ACCESS_COOKIE, CSRF_HEADER
from hub.api.routes import Route
from hub.api.server import declared_routes
from hub.audit import AuditRow
from hub.database import sync_engine
from hub.messages import utc_now
from hub.operators.roles import ROLES
from hub.operators.sessions import Given
from hub.operators.store import Change
from hub.operators.tables import SigningKeyRow
from hub.settings import Settings
from tests.hub.api.admin.signing_in import operators_of
from tests.hub.api.model_engine import ModelEngine
from tests.hub.api.serving import Api, serving
from tests.hub.operators.desk import CHEAP, HERE, PASSWORD
from tests.servers.redis import RedisServer

NOBODY = (
    "nothing",
    "wrong key",
    "revoked key",
    "forged token",
    "expired token",
    "disabled operator",
    "ended session",
)
"""Who is nobody: what they send opens nothing but what is open to all."""
KEYS = ("key", "models key", "admin key")
PEOPLE = ("viewer", "operator", "admin")
COOKIES = ("admin by cookie", "cookie of another page")

ROUTES = {
    "open": """
        health health_short metrics metrics_short cache_accounting cache_accounting_short openapi docs
        swagger-ui-bundle.js swagger-ui.css favicon-32x32.png docs.js
        generate_key generate_key_short socket sign_in refresh_session
    """,
    "key": """
        chat chat_short generate generate_short search search_short history review_context list_models
        chat_completion completion embeddings openai_models openai_model
    """,
    "models": "load_model unload_model provision_model provision_job",
    "viewer": """
        list_collections list_documents list_gaps list_people list_erasures show_erasure
        show_session sign_out change_password list_conversations show_conversation list_turns
        show_person list_dead_letters show_dead_letter events show_egress admin_list_models admin_provision_job
    """,
    "operator": """
        put_collection remove_collection put_document remove_document forget_gap correct_fact forget_fact
        export_person begin_erasure cancel_turns send_message replay_dead_letter drop_dead_letter change_dead_letters
        admin_load_model admin_unload_model
    """,
    "admin": """
        list_operators add_operator show_operator change_operator remove_operator list_audit settings
        list_keys create_key show_key change_key revoke_key rotate_key key_usage admin_provision_model
    """,
}
"""Names of all routes, by whom they are for."""
_IN, _OUT, _NO = 0, 401, 403
EXPECTED: Mapping[str, Mapping[str, int]] = {
    "open": dict.fromkeys(("nothing", "wrong key", "key", "viewer", "cookie of another page"), _IN),
    "key": dict.fromkeys((*NOBODY, *PEOPLE, *COOKIES), _OUT) | dict.fromkeys(KEYS, _IN),
    "models": dict.fromkeys((*NOBODY, *PEOPLE, *COOKIES), _OUT)
    | {"key": _NO, "models key": _IN, "admin key": _NO},
    "viewer": dict.fromkeys(NOBODY, _OUT)
    | {"key": _NO, "models key": _NO, "admin key": _IN, "viewer": _IN, "operator": _IN, "admin": _IN}
    | {"admin by cookie": _IN, "cookie of another page": _NO},
    "operator": dict.fromkeys(NOBODY, _OUT)
    | {"key": _NO, "models key": _NO, "admin key": _IN, "viewer": _NO, "operator": _IN, "admin": _IN}
    | {"admin by cookie": _IN, "cookie of another page": _NO},
    "admin": dict.fromkeys(NOBODY, _OUT)
    | {"key": _NO, "models key": _NO, "admin key": _IN, "viewer": _NO, "operator": _NO, "admin": _IN}
    | {"admin by cookie": _IN, "cookie of another page": _NO},
}
"""What callers are answered: 401, 403, or 0 for whatever the route itself says."""
AUDITED = """
    load_model unload_model provision_model sign_out change_password
    put_collection remove_collection put_document remove_document forget_gap correct_fact forget_fact
    show_person export_person begin_erasure list_turns cancel_turns send_message show_dead_letter replay_dead_letter
    drop_dead_letter change_dead_letters
    add_operator change_operator remove_operator create_key change_key revoke_key rotate_key
    admin_load_model admin_unload_model admin_provision_model
"""
"""Routes that write one entry for each call of somebody who may, and for each that a role forbids. `sign_in` writes
its own."""
GIVE_KEYS = ("generate_key", "generate_key_short")
"""Open to all, with one entry for each key."""


@pytest.fixture
async def whole_api(redis: Redis, redis_server: RedisServer, data: Path) -> AsyncIterator[Api]:
    """A server with every route there is, and an engine that answers at once."""
    settings = Settings(data=data, bus={"redis_url": redis_server.url}, operators=CHEAP)
    async with serving(redis_server.url, data, admin=settings) as running:
        await ModelEngine(running).start()
        yield running


async def sign_in(api: Api, name: str) -> Given:
    """Begin a session, as often as a test likes."""
    given = await operators_of(api).sessions.sign_in(name, PASSWORD, HERE)
    assert given is not None
    return given


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


class Callers:
    """Everybody who calls, made once; who signs out signs in again."""

    def __init__(self, api: Api, data: Path) -> None:
        self._api, self._data = api, data
        self._fixed: dict[str, dict[str, str]] = {}
        self._given: dict[str, Given] = {}
        self.signs_out = False
        """Whether whoever calls now has signed out by the next time."""

    async def make(self) -> None:
        """Make accounts and keys."""
        api, operators = self._api, operators_of(self._api)
        self._fixed = {
            "nothing": {},
            "key": await api.new_key("own"),
            "models key": await api.new_key("own", "models"),
            "admin key": await api.new_key("own", "admin"),
        }
        text = self._fixed["admin key"]["X-API-Key"]
        self._fixed["wrong key"] = {"X-API-Key": text[:-2] + ("xx" if text[-2:] != "xx" else "yy")}
        revoked = await api.parts.keys.create("own", scopes=("admin", "models"))
        await api.parts.keys.revoke(revoked.key.id)
        self._fixed["revoked key"] = {"X-API-Key": revoked.text}
        for role in ROLES:
            await operators.store.add(role, role, PASSWORD)
        self._given["admin"] = await sign_in(api, "admin")
        shut_out = await operators.store.add("shut-out", "admin", PASSWORD)
        self._fixed["disabled operator"] = bearer((await sign_in(api, "shut-out")).access_token)
        await operators.store.change(shut_out.id, Change(disabled=True))
        ended = await sign_in(api, "admin")
        await operators.sessions.end(ended.session.id)
        self._fixed["ended session"] = bearer(ended.access_token)
        self._fixed["expired token"] = bearer(self._resigned(exp=utc_now() - timedelta(minutes=1)))
        self._fixed["forged token"] = bearer(self._resigned(secret=secrets.token_bytes(32)))

    async def headers(self, caller: str) -> dict[str, str]:
        """Return what a caller sends."""
        if caller in self._fixed:
            return self._fixed[caller]
        role = "admin" if caller in COOKIES else caller
        if self.signs_out or role not in self._given:
            self._given[role] = await sign_in(self._api, role)
        given = self._given[role]
        if caller not in COOKIES:
            return bearer(given.access_token)
        cookie = {"Cookie": f"{ACCESS_COOKIE}={given.access_token}"}
        return cookie | ({CSRF_HEADER: given.session.csrf} if caller == "admin by cookie" else {})

    def forget(self) -> None:
        """Let everybody sign in anew."""
        self._given.clear()

    def _resigned(self, secret: bytes = b"", **changed: Any) -> str:
        token = self._given["admin"].access_token
        claims = jwt.decode(token, options={"verify_signature": False}) | changed
        engine = sync_engine(f"sqlite:///{self._data / 'hubbub.db'}")
        with engine.connect() as connection:
            key = connection.execute(select(SigningKeyRow.id, SigningKeyRow.secret)).one()
        engine.dispose()
        return jwt.encode(claims, secret or key.secret, "HS256", headers={"kid": key.id, "typ": "at+jwt"})


async def test_every_route_is_in_the_table(whole_api: Api) -> None:
    """A new one does not pass until somebody has written down whom it is for."""
    routes = declared_routes(whole_api.parts)
    written = Counter(name for names in ROUTES.values() for name in names.split())

    assert written == Counter(route.about.name for route in routes)
    assert {route.about.name for route in routes if route.is_audited} == set(AUDITED.split())


async def test_every_route_lets_in_whom_the_table_says(whole_api: Api, data: Path) -> None:
    """And what changes something has exactly one entry for each that is known, whatever became of it."""
    api, callers = whole_api, Callers(whole_api, data)
    await callers.make()
    kinds = {name: kind for kind, names in ROUTES.items() for name in names.split()}
    entries: dict[str, int] = {}

    for route in declared_routes(api.parts):
        name = route.about.name
        callers.signs_out = name == "sign_out"
        for caller, expected in EXPECTED[kinds[name]].items():
            # The page of another site is only stopped where something could be changed.
            is_read = caller == "cookie of another page" and route.method == "GET" and expected == _NO
            if is_read:
                expected = _IN  # noqa: PLW2901 - the exception from the table
            request = secrets.token_hex(8)
            headers = await callers.headers(caller) | {"X-Request-ID": request}
            status = await _status(api, route, headers)
            assert (status if status in (401, 403) else 0) == expected, (name, caller, status)
            is_role_refused = status == 403 and caller in (*PEOPLE, "admin by cookie")
            is_known = expected == _IN and caller not in NOBODY
            is_given = name in GIVE_KEYS and status == 200
            entries[request] = int(route.is_audited and (is_known or is_role_refused)) + int(is_given)
        if callers.signs_out:
            callers.forget()
        await _forget_limits(api)

    assert _entries(data) == Counter({request: count for request, count in entries.items() if count})


async def _status(api: Api, route: Route, headers: Mapping[str, str]) -> int:
    path = "/".join("7" if part.startswith("{") else part for part in route.path.split("/"))
    async with api.session.request(route.method, api.url + path, headers=headers) as response:
        return response.status


async def _forget_limits(api: Api) -> None:
    # Wrong keys of one address are counted, so each route gets a minute of its own.
    client: Any = api.parts.bus.redis
    keys = [key async for key in client.scan_iter("hubbub:{0}:limit:*")]
    if keys:
        await client.delete(*keys)


def _entries(data: Path) -> Counter[str]:
    engine = sync_engine(f"sqlite:///{data / 'hubbub.db'}")
    with engine.connect() as connection:
        rows = connection.execute(select(AuditRow.request, AuditRow.outcome)).all()
    engine.dispose()
    assert not [row for row in rows if row.outcome == "begun"]
    return Counter(row.request for row in rows)
