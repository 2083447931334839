"""Many clients of the whole hub at once, over HTTP, a fifth of which vanish while they are being answered."""

import asyncio
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil

from benchmarks.generation import vanishing
from benchmarks.generation.loads import Load
from benchmarks.generation.table import percentile
from tests.hub_process import HubProcess

AT_ONCE = 128
REQUESTS = 1000
VANISHING = 0.2
VANISHING_AT_ONCE = (1, 1, 1, 1, 16, 16, 32, 32)
"""Waves of clients that all hang up, one after the other."""
MODEL = "smollm2-135m"
NEW_TOKENS = 32
TIERS = {"own": {"limit": 1_000_000, "window_s": 60, "at_once": 1_000}}


@dataclass(slots=True)
class Outcome:
    """What became of the requests."""

    completed: int = 0
    vanished: int = 0
    failed: list[str] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)


async def run(*, short: bool) -> None:
    """Print how many were answered, how soon the model was free again, and what memory was taken."""
    with tempfile.TemporaryDirectory() as folder:
        hub = HubProcess(Path(folder) / "data", {"HUBBUB_KEYS__TIERS": orjson.dumps(TIERS).decode()})
        async with hub:
            await _measure(hub, 16 if short else AT_ONCE, 64 if short else REQUESTS)
            await _vanish(hub, (1, 8) if short else VANISHING_AT_ONCE)


async def _measure(hub: HubProcess, at_once: int, requests: int) -> None:
    outcome = Outcome()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={"X-API-Key": hub.key}) as client:
        # Once round, so that what is loaded at first use does not count as a leak.
        await _burst(client, hub, range(at_once), Outcome())
        await _idle_after_s(hub)
        before = _memory(hub)
        for start in range(0, requests, at_once):
            await _burst(client, hub, range(start, min(start + at_once, requests)), outcome)
        free_s = await _idle_after_s(hub)
        after = _memory(hub)
    print(
        f"{requests} requests, {at_once} at once: {outcome.completed} completed, {outcome.vanished} vanished, "
        f"{len(outcome.failed)} failed {sorted(set(outcome.failed))[:3] or ''}\n"
        f"first text after {percentile(outcome.first_s, 50):.2f} s (p95 {percentile(outcome.first_s, 95):.2f} s); the "
        f"model was free {free_s * 1000:.0f} ms after the last client; memory {before:.0f} MiB before, "
        f"{after:.0f} MiB after"
    )


async def _vanish(hub: HubProcess, waves: tuple[int, ...]) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    freed_s: list[float] = []
    async with aiohttp.ClientSession(connector=connector, headers={"X-API-Key": hub.key}) as client:

        async def requests() -> int:
            # Over a connection that stands: whoever looks takes as little as can be from what is looked at.
            async with client.get(f"{hub.url}/api/v1/models") as answer:
                return _requests_in(await answer.json())

        for people in waves:
            freed_s += await vanishing.measure(client, hub.url, MODEL, people=people, requests=requests)
    print(vanishing.told(freed_s))


async def _burst(client: aiohttp.ClientSession, hub: HubProcess, numbers: range, outcome: Outcome) -> None:
    await asyncio.gather(*(_request(client, hub, number, outcome) for number in numbers))


async def _request(client: aiohttp.ClientSession, hub: HubProcess, number: int, outcome: Outcome) -> None:
    prompt = Load(name="short", turns=1).ask(0, number, 0)
    body = {
        "model": MODEL,
        "messages": [{"role": message.role, "content": message.text} for message in prompt.messages],
        "max_tokens": NEW_TOKENS,
        "stream": True,
    }
    dice = random.Random(number)
    leaves_after = dice.randint(1, 6) if dice.random() < VANISHING else 0
    asked_at, pieces, is_done = time.perf_counter(), 0, False
    async with client.post(f"{hub.url}/v1/chat/completions", json=body) as answer:
        if answer.status != 200:
            outcome.failed.append(f"{answer.status} {(await answer.text())[:80]}")
            return
        async for line in answer.content:
            if line.startswith(b"data: [DONE]"):
                is_done = True
            elif line.startswith(b"data: ") and orjson.loads(line[6:])["choices"][0]["delta"].get("content"):
                pieces += 1
                if pieces == 1:
                    outcome.first_s.append(time.perf_counter() - asked_at)
                if pieces == leaves_after:
                    outcome.vanished += 1
                    answer.close()
                    return
    if is_done:
        outcome.completed += 1
    else:
        outcome.failed.append("broken off")


async def _idle_after_s(hub: HubProcess) -> float:
    """Wait until the model works for nobody; returns the seconds it took."""
    began = time.perf_counter()
    while await _requests(hub):
        await asyncio.sleep(0.02)
    return time.perf_counter() - began


async def _requests(hub: HubProcess) -> int:
    """Count the requests that the model has."""
    return _requests_in((await hub.get("/api/v1/models"))[1])


def _requests_in(listed: Any) -> int:
    model = next(model for model in listed["models"] if model["name"] == MODEL)
    return int(model["running"]) + int(model["waiting"])


def _memory(hub: HubProcess) -> float:
    """Return what all processes of the hub take, in MiB."""
    family = psutil.Process(hub.pid)
    return sum(one.memory_info().rss for one in (family, *family.children(recursive=True))) / 2**20
