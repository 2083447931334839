"""Updates by webhook: how long until each is stored and confirmed, and how many in a second."""

import asyncio
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.connecting.processes import Sides, opened, quantile
from connectors.telegram.webhook import PATH, SECRET_HEADER
from tests.emulators.bot_api import BotApi

SECRET = "benchmark"
CONNECTIONS = 40
"""What Telegram opens unless told otherwise. Source: Bot API, setWebhook, max_connections."""
CHATS = 500


@dataclass(frozen=True, slots=True)
class Accepted:
    """One run."""

    per_s: float
    p50_ms: float
    p99_ms: float


async def measure(folder: Path, count: int) -> dict[str, Accepted]:
    """Post `count` updates to each side."""
    numbers = itertools.count(1)
    async with opened(folder) as sides, BotApi() as telegram:
        hub = sides.hub(
            "telegram",
            ready=PATH,
            HUBBUB_API__PUBLIC_URL="https://hub.example.org",
            HUBBUB_TELEGRAM__TOKEN=telegram.token,
            HUBBUB_TELEGRAM__API_BASE=telegram.url,
            HUBBUB_TELEGRAM__WEBHOOK_SECRET=SECRET,
        )
        async with hub:
            of_hub = await _post(sides, PATH, count, numbers)
        async with sides.plain("webhook", ready="/", PLAIN_SECRET=SECRET):
            of_plain = await _post(sides, "/", count, numbers)
    return {"hubbub": of_hub, "plain": of_plain}


async def _post(sides: Sides, path: str, count: int, numbers: "itertools.count[int]") -> Accepted:
    url, headers = f"http://127.0.0.1:{sides.port}{path}", {SECRET_HEADER: SECRET}
    latencies: list[float] = []
    left = iter(range(count + CONNECTIONS))

    async def flow(client: aiohttp.ClientSession) -> None:
        for _ in left:
            body = _update(next(numbers))
            began = time.perf_counter()
            async with client.post(url, data=body, headers=headers) as answer:
                if answer.status != 200:
                    raise RuntimeError(f"an update was answered {answer.status}")
            latencies.append((time.perf_counter() - began) * 1000)

    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as client:
        began = time.perf_counter()
        await asyncio.gather(*(flow(client) for _ in range(CONNECTIONS)))
        took_s = time.perf_counter() - began
    # The first ones open the connections.
    settled = latencies[CONNECTIONS:]
    return Accepted(len(latencies) / took_s, quantile(settled, 0.5), quantile(settled, 0.99))


def _update(number: int) -> bytes:
    person = 1000 + number % CHATS
    message = {
        "message_id": number,
        "date": int(time.time()),
        "chat": {"id": person, "type": "private", "first_name": "Ada"},
        "from": {"id": person, "is_bot": False, "first_name": "Ada", "language_code": "en"},
        "text": f"What is said about number {number}?",
    }
    return json.dumps({"update_id": number, "message": message}).encode()
