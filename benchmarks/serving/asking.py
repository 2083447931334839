"""Clients of the API: many at once, or so many requests a second."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from benchmarks.connecting.processes import quantile

TIMEOUT = aiohttp.ClientTimeout(total=900)


@dataclass(slots=True)
class Load:
    """What became of the requests of one run."""

    latencies_ms: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    took_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Answers in a second."""
        return len(self.latencies_ms) / self.took_s

    def ms(self, share: float) -> float:
        """Return the time that this share of the answers stayed below."""
        return quantile(self.latencies_ms, share) if self.latencies_ms else float("nan")


class Clients:
    """Ask one server, each with one of the keys and a session of its own.

    Args:
        more: what a request holds beside prompt and session.
    """

    _numbers = itertools.count(1)

    def __init__(self, port: int, keys: Sequence[str], more: Mapping[str, Any] | None = None) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/chat"
        self._keys = keys
        self._more = more or {}

    async def at_once(self, clients: int, requests: int) -> Load:
        """Keep so many requests under way until all are answered."""
        load, left = Load(), iter(range(requests))
        async with _session(clients) as session:

            async def client() -> None:
                for _ in left:
                    await self._ask(session, load)

            began = time.perf_counter()
            await asyncio.gather(*(client() for _ in range(clients)))
            load.took_s = time.perf_counter() - began
        return load

    async def every(self, per_s: int, seconds: float) -> Load:
        """Begin so many requests a second, whatever becomes of the earlier ones."""
        load, loop = Load(), asyncio.get_running_loop()
        async with _session(1000) as session, asyncio.TaskGroup() as tasks:
            began = loop.time()
            for number in range(int(per_s * seconds)):
                await asyncio.sleep(began + number / per_s - loop.time())
                tasks.create_task(self._ask(session, load))
        load.took_s = seconds
        return load

    async def _ask(self, session: aiohttp.ClientSession, load: Load) -> None:
        number = next(self._numbers)
        body = {"prompt": f"What is said about number {number}?", "session_id": f"s{number}", **self._more}
        headers = {"X-API-Key": self._keys[number % len(self._keys)]}
        began = time.perf_counter()
        try:
            async with session.post(self._url, json=body, headers=headers) as answer:
                document = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError) as error:
            load.errors[type(error).__name__] += 1
            return
        if answer.status == 200 and document["kind"] == "answer":
            load.latencies_ms.append((time.perf_counter() - began) * 1000)
        else:
            load.errors[f"{answer.status} {document.get('code', document.get('kind'))}"] += 1


def _session(connections: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections), timeout=TIMEOUT)
