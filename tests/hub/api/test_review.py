"""POST /api/v1/review/rag-context: what a reviewer gets, and that they get it in time."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.bus.calls import Service, serve
from hub.bus.connection import connect_reader
from hub.errors import KnowledgeError
from hub.guard_settings import ReviewSettings
from tests.hub.api.serving import Api, serving
from tests.servers.redis import RedisServer

PATH = "/api/v1/review/rag-context"
EMPTY = {"focus_areas": [], "areas": {"files": [], "symbols": [], "docs": []}, "references": []}
REFERENCE = {
    "repository": "acme/api",
    "file_path": "src/cache.py",
    "summary": "Invalidation runs on workers",
    "score": 0.92,
    "kind": "code",
}


async def _post(api: Api, body: Any) -> tuple[int, Any]:
    async with api.session.post(f"{api.url}{PATH}", json=body, headers=await api.new_key()) as answer:
        return answer.status, await answer.json()


def _serve(api: Api, service: Service) -> None:
    bus = api.parts.bus
    api.tasks.create_task(serve(bus.redis, connect_reader(bus.url), {"review": service}, api.stop))


async def test_focus_areas_and_references_are_handed_on(bare_api: Api) -> None:
    """The request as it was checked, no more results than the settings allow."""
    asked: list[Mapping[str, Any]] = []

    async def review(request: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(request)
        return {"focus_areas": ["Refactor cache invalidation"], "references": [REFERENCE]}

    _serve(bare_api, review)
    body = {
        "query": "Check\u200b invalidation",
        "files": ["src/a.py"],
        "repositories": ["acme/api"],
        "max_results": 50,
    }

    status, answer = await _post(bare_api, body)

    assert status == 200
    assert (answer["enabled"], answer["degraded"]) == (True, False)
    assert answer["focus_areas"] == ["Refactor cache invalidation"]
    assert answer["references"][0] | REFERENCE == answer["references"][0]
    assert asked == [{**body, "query": "Check invalidation", "max_results": ReviewSettings().max_results}]


async def _fails(request: Mapping[str, Any]) -> Mapping[str, Any]:
    raise KnowledgeError("the documents cannot be read")


async def _hangs(request: Mapping[str, Any]) -> Mapping[str, Any]:
    await asyncio.sleep(4)
    return {}


async def _talks_nonsense(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"focus_areas": 12, "references": [{"repository": None}]}


@pytest.mark.parametrize("service", [None, _fails, _hangs, _talks_nonsense])
async def test_an_outage_gives_an_empty_answer_in_time(
    redis: Redis, redis_server: RedisServer, data: Path, service: Service | None
) -> None:
    """Whether nobody is there, or somebody who fails, is slow, or talks nonsense."""
    async with serving(redis_server.url, data, review=ReviewSettings(timeout_s=0.5)) as api:
        if service:
            _serve(api, service)
        started = monotonic()

        status, answer = await _post(api, {"query": "x"})

        assert monotonic() - started < 3
        assert (status, answer) == (200, {"enabled": True, "degraded": True, **EMPTY})


async def test_it_can_be_switched_off(redis: Redis, redis_server: RedisServer, data: Path) -> None:
    """Then it is empty, and says why."""
    async with serving(redis_server.url, data, review=ReviewSettings(enabled=False)) as api:
        assert await _post(api, {"query": "x"}) == (200, {"enabled": False, "degraded": False, **EMPTY})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": ""},
        {"query": " \u200b"},
        {"query": 1},
        {"query": "x" * 1001},
        {"files": [""]},
        {"files": ["a"] * 51},
        {"files": "a.py"},
        {"query": "x", "repositories": [1]},
        {"query": "x", "max_results": 0},
        {"query": "x", "max_results": 51},
        {"query": "x", "max_results": "5"},
        {"query": "x", "other": 1},
    ],
)
async def test_a_bad_request_is_told_what_is_wrong(bare_api: Api, body: Any) -> None:
    """Nothing of it reaches an engine."""
    status, answer = await _post(bare_api, body)

    assert status == 422
    assert answer["errors"]


async def test_it_needs_a_key(bare_api: Api) -> None:
    """As every question does."""
    async with bare_api.session.post(f"{bare_api.url}{PATH}", json={"query": "x"}) as answer:
        assert answer.status == 401
