"""The OpenAPI document, and the page that shows it."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect
from redis.asyncio import Redis

from hub.api.document import TAGS
from hub.api.routes import PREFIX
from hub.api.server import declared_routes
from hub.settings import ApiSettings, Settings
from tests.browser import chromium
from tests.hub.api.serving import Api, serving
from tests.servers.redis import RedisServer

URL = f"{PREFIX}/openapi.json"


@pytest.fixture
async def whole_api(redis: Redis, redis_server: RedisServer, data: Path) -> AsyncIterator[Api]:
    """A server with every route there is, and an engine that echoes."""
    settings = Settings(data=data, bus={"redis_url": redis_server.url})
    async with serving(redis_server.url, data, admin=settings) as running:
        await running.start_engine()
        yield running


async def document_of(api: Api) -> Any:
    """Fetch the document."""
    async with api.session.get(api.url + URL) as response:
        assert response.status == 200
        return await response.json()


async def test_the_document_holds_every_route(whole_api: Api) -> None:
    """Each with its codes, its key and its group; nothing is said of what is not there."""
    document = await document_of(whole_api)
    routes = [route for route in declared_routes(whole_api.parts) if route.about.tag]

    assert document["openapi"].startswith("3.1")
    told = {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    assert set(told) == {(route.method, re.sub(r":[^}]*", "", route.path)) for route in routes}
    for route in routes:
        operation = told[route.method, re.sub(r":[^}]*", "", route.path)]
        assert operation["operationId"] == route.about.name
        assert operation["tags"] == [route.about.tag]
        assert route.about.tag in TAGS
        assert bool(operation["security"]) == route.access.needs_key
        if not route.path.startswith("/v1/"):
            for status, codes in route.faults.items():
                content = operation["responses"][str(status)]["content"]
                [_, own] = content["application/problem+json"]["schema"]["allOf"]
                assert own["properties"]["code"]["enum"] == list(codes), (route.about.name, status)


async def test_the_document_is_made_from_the_models_that_validate(whole_api: Api) -> None:
    """Limits, patterns and refused fields are those of the models, and each reference leads somewhere."""
    document = await document_of(whole_api)
    schemas = document["components"]["schemas"]
    asked = schemas["AskRequest"]
    history = {one["name"]: one for one in document["paths"][f"{PREFIX}/history"]["get"]["parameters"]}

    assert asked["additionalProperties"] is False
    assert asked["properties"]["top_k"] == {
        "type": "integer", "default": 40, "minimum": 0, "maximum": 1_000_000, "title": "Top K",
    }  # fmt: skip
    assert history["session_id"]["required"]
    assert history["session_id"]["schema"]["pattern"] == "^[A-Za-z0-9_-]{1,64}$"
    assert history["last"]["schema"]["maximum"] == 200
    for name in re.findall(r'"#/components/schemas/([^"]+)"', repr(document).replace("'", '"')):
        assert name in schemas


async def test_tiers_are_those_that_are_offered(whole_api: Api) -> None:
    """The settings decide what the parameter may be."""
    document = await document_of(whole_api)

    [tier] = document["paths"]["/generate-key"]["post"]["parameters"]
    assert tier["schema"]["enum"] == ["free", "pro"]


async def test_a_hub_may_keep_its_document_to_itself(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """Then neither the document nor the page is there."""
    async with serving(redis_server.url, data, api=ApiSettings(port=0, docs=False)) as api:
        for path in (URL, f"{PREFIX}/docs", f"{PREFIX}/docs/docs.js"):
            async with api.session.get(api.url + path) as response:
                assert response.status == 404


async def test_the_page_works_without_anybody_else(whole_api: Api) -> None:
    """In a real browser: every file comes from here, the policy is kept, and a route is tried out with a key."""
    async with chromium() as browser:
        page = await browser.new_page()
        asked: list[str] = []
        faults: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        await page.goto(f"{whole_api.url}{PREFIX}/docs")
        await expect(page.locator(".info .title")).to_contain_text("Hubbub")

        before = await _tried(page)
        await _authorize(page, (await whole_api.new_key())["X-API-Key"])
        after = await _tried(page)

    assert [url for url in asked if not url.startswith((whole_api.url, "data:"))] == []
    assert before.startswith("401")
    assert after.startswith("200")
    assert [fault for fault in faults if "401" not in fault] == []


async def _tried(page: Page) -> str:
    """Send the request of `GET /api/v1/search` as the page does; returns the status that it shows."""
    route = page.locator("#operations-search-search")
    if not await route.locator(".execute").count():
        await route.locator(".opblock-summary-control").click()
        await route.locator("[data-param-name=q] input").fill("tea")
    async with page.expect_response(lambda answer: "/search?" in answer.url):
        await route.locator(".execute").click()
    shown = route.locator(".live-responses-table .response-col_status")
    await expect(shown.last).to_contain_text(re.compile(r"\d{3}"))
    return await shown.last.inner_text()


async def _authorize(page: Page, key: str) -> None:
    await page.locator(".auth-wrapper .authorize").first.click()
    dialog = page.locator(".modal-ux")
    await dialog.locator("input").first.fill(key)
    await dialog.locator(".auth-btn-wrapper .authorize").first.click()
    await dialog.locator(".btn-done").first.click()
