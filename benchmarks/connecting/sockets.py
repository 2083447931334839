"""Open sockets with answers that grow: memory of the server for each, and how long a piece of text takes to a page."""

import asyncio
import json
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from benchmarks.connecting.plain import DELTAS
from benchmarks.connecting.processes import Sides, opened, quantile
from hub.live import DeltaWriter

OPENING_AT_ONCE = 50
PIECES_PER_S = 1.0
"""Of each answer."""

Say = Callable[[int, str], Awaitable[None]]
"""Add a piece to the answer of a page."""


@dataclass(frozen=True, slots=True)
class Held:
    """One run."""

    kib_each: float
    p50_ms: float
    p99_ms: float


class Pages:
    """Pages that are open, and when what was said to them arrived."""

    def __init__(self, url: str, origin: str) -> None:
        self._url = url
        self._origin = origin
        self._opened = AsyncExitStack()
        self._reading: list[asyncio.Task[None]] = []
        self._sockets: list[aiohttp.ClientWebSocketResponse] = []
        self.latencies_ms: list[float] = []

    async def open(self, count: int, first: Callable[[int], str]) -> list[str]:
        """Open pages; returns the conversation that each was told, or its own first words."""
        connector = aiohttp.TCPConnector(limit=0)
        client = await self._opened.enter_async_context(aiohttp.ClientSession(connector=connector))
        slots = asyncio.Semaphore(OPENING_AT_ONCE)

        async def one(number: int) -> str:
            async with slots:
                # As browsers offer them, frames are not compressed: the pieces are too short to gain by it.
                socket = await client.ws_connect(self._url, headers={"Origin": self._origin}, compress=0)
                words = first(number)
                await socket.send_str(words)
                ready = json.loads(await socket.receive_str(timeout=30))
                self._reading.append(asyncio.create_task(self._read(socket)))
                return str(ready.get("conversation", words))

        return list(await asyncio.gather(*(one(number) for number in range(count))))

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._sockets.append(socket)
        async for message in socket:
            frame = json.loads(message.data)
            if frame["t"] != "delta":
                continue
            now = time.monotonic_ns()
            for said in frame["text"].split():
                self.latencies_ms.append((now - int(said)) / 1e6)

    async def close(self) -> None:
        """Close them all."""
        await asyncio.gather(*(socket.close() for socket in self._sockets), return_exceptions=True)
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        await self._opened.aclose()


async def measure(folder: Path, count: int, seconds: float) -> dict[str, Held]:
    """Hold `count` sockets open at each side, whose answers grow for some seconds."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    async with opened(folder) as sides:
        settings = {"HUBBUB_WEB__MAX_CONNECTIONS_PER_ADDRESS": str(2 * count)}
        async with sides.hub("web", ready="/", **settings) as process:
            of_hub = await _of_hub(sides, process.pid, count, seconds)
        async with sides.plain("sockets", ready="/") as process:
            of_plain = await _of_plain(sides, process.pid, count, seconds)
    return {"hubbub": of_hub, "plain": of_plain}


async def _of_hub(sides: Sides, pid: int, count: int, seconds: float) -> Held:
    origin = f"http://127.0.0.1:{sides.port}"
    pages = Pages(f"{origin}/ws/chat", origin)
    before = _memory_bytes(pid)
    conversations = await pages.open(count, lambda _: json.dumps({"t": "auth"}))
    writers = [
        DeltaWriter(sides.redis, shards=1, turn=f"{number}-0", conversation=conversation)
        for number, conversation in enumerate(conversations)
    ]

    async def say(number: int, text: str) -> None:
        await writers[number].add(text)

    return await _speak(pages, say, pid, before, count, seconds)


async def _of_plain(sides: Sides, pid: int, count: int, seconds: float) -> Held:
    origin = f"http://127.0.0.1:{sides.port}"
    pages = Pages(f"{origin}/", origin)
    before = _memory_bytes(pid)
    names = await pages.open(count, str)

    async def say(number: int, text: str) -> None:
        frame = json.dumps({"t": "delta", "turn": f"{number}-0", "offset": 0, "text": text})
        fields = {"to": names[number], "frame": frame}
        await sides.redis.xadd(DELTAS, fields, maxlen=10_000, approximate=True)

    return await _speak(pages, say, pid, before, count, seconds)


async def _speak(pages: Pages, say: Say, pid: int, before_bytes: int, count: int, seconds: float) -> Held:
    began, pieces = time.monotonic(), int(count * PIECES_PER_S * seconds)
    for piece in range(pieces):
        wait_s = began + piece / (count * PIECES_PER_S) - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        await say(piece % count, f"{time.monotonic_ns()} ")
    async with asyncio.timeout(30):
        while len(pages.latencies_ms) < pieces:
            await asyncio.sleep(0.1)
    after = _memory_bytes(pid)
    latencies = list(pages.latencies_ms)
    await pages.close()
    kib_each = (after - before_bytes) / count / 1024
    return Held(kib_each, quantile(latencies, 0.5), quantile(latencies, 0.99))


def _memory_bytes(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)
