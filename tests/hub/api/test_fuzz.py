"""Whatever the OpenAPI document allows, and what it does not, asked of a running server by Schemathesis.

`make fuzz` asks for longer; FUZZ_EXAMPLES says how many requests of each route.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.bus.calls import serve
from hub.bus.connection import connect_reader
from hub.keys import PREFIX, SCOPES, ApiKey, KeyStore
from hub.limits import Limit
from hub.settings import KeySettings, Settings, TierSettings
from tests.hub.api.model_engine import ModelEngine
from tests.hub.api.serving import Api, serving
from tests.hub.operators.desk import CHEAP
from tests.servers.redis import RedisServer

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "")
UNLIMITED = KeySettings(
    tiers={"own": TierSettings(limit=10_000_000)},
    self_service_tiers=("own",),
    self_service_per_hour=10_000_000,
)


@pytest.fixture
async def whole_api(
    redis: Redis, redis_server: RedisServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Api]:
    """A server with every route, whose engine answers at once, searches and reviews; nobody is slowed down."""
    monkeypatch.setattr("hub.api.auth.FAILED_LOGINS", Limit(requests=10_000_000, window_s=60))
    settings = Settings(data=data, bus={"redis_url": redis_server.url}, operators=CHEAP)
    async with serving(redis_server.url, data, admin=settings, keys=UNLIMITED) as api:
        engine = ModelEngine(api)
        engine.slow.may_go_on.set()
        await engine.start()
        bus, services = api.parts.bus, {"search": _search, "review": _review}
        api.tasks.create_task(serve(bus.redis, connect_reader(bus.url), services, api.stop))
        yield api


async def _search(request: Mapping[str, Any]) -> Mapping[str, Any]:
    hit = {"source": "docs/guide.md", "text": request["q"], "score": 0.5}
    return {"results": [hit] * request["k"]}


async def _review(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"focus_areas": request["files"], "references": []}


async def test_every_route_keeps_to_its_document(
    whole_api: Api, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No 5xx, no status, code, header or body that is not documented, nothing wrong accepted, no key ignored."""
    headers = await whole_api.new_key("own", *SCOPES)
    _hide(whole_api.parts.keys, headers["X-API-Key"], monkeypatch)
    seed = str(request.config.getoption("--hypothesis-seed") or 1)
    arguments = [
        *("--config-file", str(CONFIG), "run", f"{whole_api.url}/api/v1/openapi.json"),
        *(
            "--header",
            f"X-API-Key: {headers['X-API-Key']}",
            "--seed",
            seed,
            "--checks",
            "all",
            "--continue-on-failure",
        ),
        # The models of answers are one and the same for both forms of a path.
        *(
            ("--max-examples", EXAMPLES)
            if EXAMPLES
            else ("--phases", "examples,coverage", "--exclude-tag", "short forms")
        ),
    ]

    code, output = await _schemathesis(arguments, tmp_path)

    assert code == 0, output


def _hide(keys: KeyStore, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no request find the key that all of them are sent with: one that ends it would be the last."""
    own, one, page = text.removeprefix(PREFIX).partition("_")[0], keys.one, keys.page

    async def another(key_id: str) -> ApiKey | None:
        return None if key_id == own else await one(key_id)

    async def others(*which: Any) -> Sequence[ApiKey]:
        return [key for key in await page(*which) if key.id != own]

    monkeypatch.setattr(keys, "one", another)
    monkeypatch.setattr(keys, "page", others)


async def _schemathesis(arguments: list[str], folder: Path) -> tuple[int, str]:
    command = Path(sys.executable).with_name("schemathesis")
    process = await asyncio.create_subprocess_exec(
        command, *arguments, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()
