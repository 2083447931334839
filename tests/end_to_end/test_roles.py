"""One process per role against a Redis of its own, as containers run them."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.emulators.bot_api import BotApi
from tests.hub_process import HubProcess
from tests.servers.redis import RedisServer, free_port

pytestmark = pytest.mark.timeout(240)


@asynccontextmanager
async def role(
    hub: HubProcess, name: str, *more: str, **settings: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run roles in one process."""
    with (hub.data.parent / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hub", "run", name, *more),
            env={**hub.environment, **settings},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(60):
            assert await process.wait() == 0, (hub.data.parent / f"{name}.log").read_text()[-3000:]


async def test_every_role_runs_in_a_process_of_its_own(data: Path, tmp_path: Path) -> None:
    """The engine, the API and Telegram apart, talking through Redis alone."""
    (tmp_path / "redis").mkdir()
    async with BotApi() as telegram, AsyncExitStack() as running:
        redis = running.enter_context(RedisServer(tmp_path / "redis"))
        hub = HubProcess(
            data,
            {
                "HUBBUB_BUS__REDIS_URL": redis.url,
                "HUBBUB_TELEGRAM__TOKEN": telegram.token,
                "HUBBUB_TELEGRAM__API_BASE": telegram.url,
            },
        )
        hub.key = (await hub.command("keys", "create", "--tier", "own")).strip()
        await running.enter_async_context(role(hub, "api", HUBBUB_API__PORT=str(hub.port)))
        await running.enter_async_context(role(hub, "telegram", HUBBUB_API__PORT=str(free_port())))
        await running.enter_async_context(role(hub, "engine"))

        telegram.say(1, "My name is Omdeep.")
        await telegram.answered(1, 1, timeout_s=60)
        telegram.say(1, "What is my name?")
        answers = await telegram.answered(1, 2, timeout_s=60)
        assert "Omdeep" in answers[-1]
        status, body = await hub.post("/chat", {"prompt": "How do I add documents?", "session_id": "s"})
        assert status == 200
        assert body["sources"]
        # Also those that serve no HTTP themselves.
        async with aiohttp.ClientSession() as client, client.get(f"{hub.url}/metrics") as answer:
            seen = re.findall(r'hubbub_process_up\{.*roles="(\w+)"\} 1\.0', await answer.text())
        assert sorted(seen) == ["api", "engine", "telegram"]


async def test_a_redis_that_would_lose_messages_is_refused(data: Path, tmp_path: Path) -> None:
    """The sentence says what to change; a setting allows it all the same."""
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis", appendfsync="everysec") as redis:
        hub = HubProcess(data, {"HUBBUB_BUS__REDIS_URL": redis.url})
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hub", "run", "engine"),
            env=hub.environment,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            _, error = await process.communicate()

        assert process.returncode == 2
        assert "appendfsync is everysec" in error.decode()
        findings = json.loads(await hub.command("doctor", "--json", code=1))
        assert any(one["part"] == "redis" and one["state"] == "fail" for one in findings)
