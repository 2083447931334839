"""Every route of the server: declared once, and open to those alone who may call it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from redis.asyncio import Redis
from structlog.testing import capture_logs

from hub.api.chat import ChatRoutes
from hub.api.parts import ApiParts
from hub.api.routes import OPEN, PREFIX, ROUTES, About, Answer, Gives, Route, Takes
from hub.api.schemas import Asked, HistoryQuery, NoQuery
from hub.api.server import declared_routes, make_app
from hub.settings import Settings
from tests.hub.api.model_engine import ModelEngine
from tests.hub.api.serving import Api, serving
from tests.servers.redis import RedisServer


@pytest.fixture
async def whole_api(redis: Redis, redis_server: RedisServer, data: Path) -> AsyncIterator[Api]:
    """A server with every route there is, and an engine that answers at once."""
    settings = Settings(data=data, bus={"redis_url": redis_server.url})
    async with serving(redis_server.url, data, admin=settings) as running:
        await ModelEngine(running).start()
        yield running


async def test_nothing_is_served_that_is_not_declared(whole_api: Api) -> None:
    """The router holds the declared routes and no other, each by a name of its own."""
    app = make_app(whole_api.parts)
    served = {(route.method, resource.canonical) for resource in app.router.resources() for route in resource}
    declared = {(route.method, route.path.replace(":.+}", "}")) for route in app[ROUTES]}

    assert served == declared
    assert len({route.about.name for route in app[ROUTES]}) == len(app[ROUTES]) == len(declared)


async def test_a_process_without_the_api_serves_its_state_alone(whole_api: Api) -> None:
    """As one does that only runs connectors."""
    names = {route.about.name for route in make_app(whole_api.parts, with_api=False)[ROUTES]}

    assert names == {
        name + form for name in ("health", "metrics", "cache_accounting") for form in ("", "_short")
    }


async def test_operators_have_a_place_of_their_own(whole_api: Api) -> None:
    """A route is one for their roles where it stands below their path, and only there."""
    for route in declared_routes(whole_api.parts):
        assert (route.access.role is not None) == route.path.startswith(f"{PREFIX}/admin/"), route.path


@pytest.mark.parametrize(("declared", "status"), [(HistoryQuery, 200), (NoQuery, 500)])
async def test_a_route_that_reads_what_it_does_not_say_breaks(
    redis: Redis,
    redis_server: RedisServer,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    declared: type[Asked],
    status: int,
) -> None:
    """So that the document cannot differ from what is validated."""

    def changed(parts: ApiParts, **_: bool) -> list[Route]:
        return [replace(route, takes=Takes(query=declared)) for route in ChatRoutes(parts).routes()[-1:]]

    monkeypatch.setattr("hub.api.server.declared_routes", changed)
    async with serving(redis_server.url, data) as api:
        headers = await api.new_key()
        with capture_logs():
            async with api.session.get(f"{api.url}/api/v1/history?session_id=s", headers=headers) as response:
                assert response.status == status


def test_codes_follow_from_what_a_route_takes() -> None:
    """What every request of its kind may meet need not be repeated."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response()

    route = Route(
        "GET", "/x/{id}", handler, OPEN, About("x", "X.", "x"),
        Takes(query=NoQuery), Gives(Answer(), faults={404: ("gone_for_good",), 422: ("invalid_fields",)}),
    )  # fmt: skip

    assert route.faults == {
        400: ("bad_request", "repeated_parameter", "unknown_parameter"),
        403: ("network_not_allowed",),
        404: ("not_found", "gone_for_good"),
        413: ("too_large",),
        422: ("invalid_fields",),
        500: ("internal_error",),
    }
