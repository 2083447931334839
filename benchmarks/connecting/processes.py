"""Both sides as processes on one Redis."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from hub.bus.connection import connect
from hub.bus.embedded import EmbeddedRedis, embedded_url
from hub.settings import BusSettings
from tests.servers.redis import free_port

START_TIMEOUT_S = 90.0
MAX_BACKLOG = 1_000_000


class Sides:
    """Starts Hubbub in one role, or the plain program, each in a process of its own."""

    def __init__(self, url: str, data: Path) -> None:
        self.url = url
        self.redis: Any = connect(url)
        self.port = free_port()
        self._data = data

    @contextlib.asynccontextmanager
    async def hub(
        self, role: str, *, ready: str = "", **settings: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run one role.

        Args:
            ready: path that answers below 500 once it can be used; empty does not wait.
        """
        environment = {
            "HUBBUB_DATA": str(self._data),
            "HUBBUB_BUS__REDIS_URL": self.url,
            "HUBBUB_BUS__MAX_BACKLOG": str(MAX_BACKLOG),
            "HUBBUB_API__PORT": str(self.port),
            "HUBBUB_LOG__LEVEL": "error",
            **settings,
        }
        async with self._process(("hub", "run", role), environment, ready) as process:
            yield process

    @contextlib.asynccontextmanager
    async def plain(
        self, what: str, *, ready: str = "", **settings: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run the plain program."""
        environment = {"PLAIN_REDIS": self.url, "PLAIN_PORT": str(self.port), **settings}
        async with self._process(("benchmarks.connecting.plain", what), environment, ready) as process:
            yield process

    @contextlib.asynccontextmanager
    async def _process(
        self, words: tuple[str, ...], environment: Mapping[str, str], ready: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *words, env={**clean, **environment}
        )
        try:
            if ready:
                await self._wait(process, ready)
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()

    async def _wait(self, process: asyncio.subprocess.Process, path: str) -> None:
        async with asyncio.timeout(START_TIMEOUT_S), aiohttp.ClientSession() as client:
            while process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.post(f"http://127.0.0.1:{self.port}{path}") as answer:
                        if answer.status < 500:
                            return
                await asyncio.sleep(0.1)
        raise RuntimeError("the process ended before it was ready")


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Sides]:
    """Start the embedded Redis, as `hubbub up` does."""
    redis = EmbeddedRedis(BusSettings(), folder)
    await redis.start()
    sides = Sides(embedded_url(folder), folder)
    try:
        yield sides
    finally:
        await sides.redis.aclose()
        await redis.stop()


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of them stays below."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
