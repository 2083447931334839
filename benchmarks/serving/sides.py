"""The processes that answer: the hub's API with an engine, and the bare handler."""

import asyncio
import contextlib
import json
import os
import statistics
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from hub.bus.connection import connect
from hub.bus.embedded import EmbeddedRedis, embedded_url
from hub.bus.keys import Keys
from hub.database import async_engine, upgrade
from hub.events import DeliveryEvent, TurnEvent, parse_event
from hub.keys import KeyStore
from hub.settings import BusSettings
from tests.servers.redis import free_port

START_TIMEOUT_S = 120.0
KEYS = 16
"""Keys that the clients take turns with."""
TIER = {"limit": 100_000_000, "window_s": 60, "at_once": 1_000}


@dataclass
class Side:
    """One server."""

    port: int
    process: asyncio.subprocess.Process
    keys: list[str] = field(default_factory=lambda: ["none"])
    redis: Any = None

    def memory_mb(self) -> float:
        """Return what its process holds of the machine's memory, in MB."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 1e6

    def cpu_s(self) -> float:
        """Return how long its process has computed so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    async def turns(self, count: int) -> list[TurnEvent]:
        """Return the last turns, the latest first."""
        entries = await self.redis.xrevrange(Keys().events, count=3 * count)
        events = [parse_event(fields) for _, fields in entries]
        return [event for event in events if isinstance(event, TurnEvent)][:count]

    async def parts_ms(self, turns_back: int) -> Mapping[str, float]:
        """Tell what the last turns took: waiting for the engine, the turn, and the way back; medians."""
        waits, turns, ways = [], [], []
        for _, fields in await self.redis.xrevrange(Keys().events, count=2 * turns_back):
            match parse_event(fields):
                case TurnEvent() as turn:
                    waits.append(turn.queue_ms)
                    turns.append(turn.turn_ms)
                case DeliveryEvent() as delivery:
                    ways.append(delivery.wait_ms)
        return {
            "to the engine": statistics.median(waits),
            "turn": statistics.median(turns),
            "back": statistics.median(ways),
        }


@contextlib.asynccontextmanager
async def hub(folder: Path, *, is_instant: bool) -> AsyncIterator[Side]:
    """Run Redis, `hubbub run api`, and an engine: one that answers at once, or the hub's own with the bundled model."""
    server = EmbeddedRedis(BusSettings(), folder)
    await server.start()
    url, port = embedded_url(folder), free_port()
    environment = {
        "HUBBUB_DATA": str(folder),
        "HUBBUB_BUS__REDIS_URL": url,
        "HUBBUB_API__PORT": str(port),
        "HUBBUB_API__REPLY_TIMEOUT_S": "900",
        "HUBBUB_KEYS__TIERS": json.dumps({"own": TIER}),
        "HUBBUB_KNOWLEDGE__BUNDLED_DOCS": "false",
        "HUBBUB_LOG__LEVEL": "error",
    }
    engine = ("benchmarks.serving.instant", url) if is_instant else ("hub", "run", "engine")
    redis = connect(url)
    try:
        keys = await _keys(folder)
        async with _process(("hub", "run", "api"), environment) as api, _process(engine, environment):
            await _until_ok(port, api)
            yield Side(port, api, keys, redis)
    finally:
        await redis.aclose()
        await server.stop()


@contextlib.asynccontextmanager
async def bare() -> AsyncIterator[Side]:
    """Run the bare handler."""
    port = free_port()
    async with _process(("benchmarks.serving.bare", str(port)), {}) as process:
        await _until_ok(port, process, is_bare=True)
        yield Side(port, process)


async def _keys(folder: Path) -> list[str]:
    url = f"sqlite:///{folder / 'hubbub.db'}"
    await asyncio.to_thread(upgrade, url)
    engine = async_engine(url)
    store = KeyStore(engine, ["own"])
    made = [(await store.create("own")).text for _ in range(KEYS)]
    await engine.dispose()
    return made


@contextlib.asynccontextmanager
async def _process(
    words: tuple[str, ...], environment: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *words, env={**clean, **environment})
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _until_ok(port: int, process: asyncio.subprocess.Process, *, is_bare: bool = False) -> None:
    async with asyncio.timeout(START_TIMEOUT_S), aiohttp.ClientSession() as client:
        while process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError):
                async with client.get(f"http://127.0.0.1:{port}/health") as answer:
                    if is_bare or (await answer.json())["status"] == "ok":
                        return
            await asyncio.sleep(0.1)
    raise RuntimeError("the process ended before it was ready")
