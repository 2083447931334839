"""How long a person waits: from `hubbub up` to the page, and to the first answer from the documents.

Two starts on one data folder: the first finds nothing there and takes the project's own documents in.
`python -m benchmarks.start`
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from tests.hub_process import HubProcess

QUESTION = "How do I connect Telegram?"
GOAL_S = 8.0


async def main() -> None:
    """Print one line for each start."""
    print(f"{'start':8}{'page':>8}{'answer':>8}   goal for the answer: {GOAL_S:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        hub = HubProcess(Path(folder) / "data")
        hub.key = (await hub.command("keys", "create", "--tier", "own")).strip()
        for name in ("first", "second"):
            page_s, answer_s = await measure(hub)
            print(f"{name:8}{page_s:7.1f}s{answer_s:7.1f}s   {answer_s / GOAL_S:.2f} of the goal")


async def measure(hub: HubProcess) -> tuple[float, float]:
    """Start the hub, ask at once, stop it.

    Returns: seconds until the page was there, and until the answer was.
    """
    began = time.monotonic()
    starting = asyncio.create_task(hub.start())
    async with aiohttp.ClientSession() as client:
        while not await _is_served(client, hub.url):
            await asyncio.sleep(0.02)
    page_s = time.monotonic() - began
    status, body = await hub.post("/chat", {"prompt": QUESTION, "session_id": "s"})
    answer_s = time.monotonic() - began
    if status != 200 or not body["sources"]:
        sys.exit(f"no answer: {status} {body}")
    await starting
    await hub.stop()
    return page_s, answer_s


async def _is_served(client: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with client.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


if __name__ == "__main__":
    asyncio.run(main())
