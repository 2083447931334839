"""The composition root: any subset of roles runs, says what is wrong with its settings, and waits for no other."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from hub.app import run_roles
from hub.bus.bus import Bus
from hub.errors import SettingsError
from hub.settings import ApiSettings, BusSettings, Settings, TelegramSettings
from tests.servers.redis import RedisServer, free_port

WAIT_S = 120
"""How long something that takes a second may take on a busy machine: libraries are loaded meanwhile."""


def settings_for(redis_server: RedisServer, data: Path, **tables: Any) -> Settings:
    """Settings of a hub on this Redis and folder, without any of the machine's own."""
    tables.setdefault("api", ApiSettings(port=free_port()))
    return Settings(
        _env_file=None,
        data=data,
        drain_timeout_s=2,
        bus=BusSettings(redis_url=SecretStr(redis_server.url)),
        **tables,
    )


@contextlib.asynccontextmanager
async def running(settings: Settings, *roles: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Run roles until the block ends; gives a client of their HTTP server."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_roles(settings, roles, stop))
    base = f"http://127.0.0.1:{settings.api.port}"
    try:
        async with aiohttp.ClientSession(base) as client:
            async with asyncio.timeout(WAIT_S):
                while not await _is_up(client):
                    if task.done():
                        await task
                    await asyncio.sleep(0.05)
            yield client
    finally:
        stop.set()
        async with asyncio.timeout(WAIT_S):
            await task


async def _is_up(client: aiohttp.ClientSession) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        async with client.get("/health"):
            return True
    return False


async def status(client: aiohttp.ClientSession, method: str, path: str) -> int:
    """Ask and return the status."""
    async with client.request(method, path) as answer:
        return answer.status


async def test_a_port_that_is_taken_is_told_as_a_wrong_setting(redis_server: RedisServer, data: Path) -> None:
    """The operator reads which port it is, and the supervisor does not try again for ever."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = settings_for(redis_server, data, api=ApiSettings(port=port))

        with pytest.raises(SettingsError, match=f"port {port} of 127.0.0.1 cannot be used"):
            await run_roles(settings, ["api"], asyncio.Event())


async def test_the_api_alone_serves_no_page(redis_server: RedisServer, data: Path) -> None:
    """A process does what its role says."""
    async with running(settings_for(redis_server, data), "api") as client:
        assert await status(client, "POST", "/chat") == 401
        assert await status(client, "GET", "/") == 404


async def test_the_page_alone_takes_no_questions_of_the_api(redis_server: RedisServer, data: Path) -> None:
    """Their replies would lie on a stream that nobody reads."""
    async with running(settings_for(redis_server, data), "web") as client:
        assert await status(client, "GET", "/") == 200
        assert await status(client, "GET", "/api/v1/health") == 200
        assert await status(client, "POST", "/chat") == 404
        assert await status(client, "POST", "/generate-key") == 404


async def test_telegram_alone_serves_its_webhook(redis_server: RedisServer, data: Path) -> None:
    """From the first moment on, though its library is still being loaded: 503, then 401 for strangers."""
    settings = settings_for(
        redis_server,
        data,
        api=ApiSettings(port=free_port(), public_url="https://hub.example.org"),
        telegram=TelegramSettings(
            token=SecretStr("123456:" + "A" * 35), api_base=f"http://127.0.0.1:{free_port()}"
        ),
    )
    async with running(settings, "telegram") as client, asyncio.timeout(WAIT_S):
        while (seen := await status(client, "POST", "/api/v1/webhooks/telegram")) == 503:
            await asyncio.sleep(0.05)

        assert seen == 401
        assert await status(client, "GET", "/") == 404


async def test_a_loop_that_fails_lets_the_others_drain(redis_server: RedisServer, data: Path) -> None:
    """A wrong token is found although its connector is made late; the other consumers leave their groups."""
    settings = settings_for(redis_server, data, telegram=TelegramSettings(token=SecretStr("not a token")))

    with pytest.raises(SettingsError, match=r"telegram\.token"):
        await run_roles(settings, ["api", "telegram"], asyncio.Event())

    bus = Bus(redis_server.url, settings.bus)
    redis: Any = bus.redis
    assert await redis.xinfo_consumers("hubbub:{0}:outbound:api", "senders") == []
    await bus.close()
