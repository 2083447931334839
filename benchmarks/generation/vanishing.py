"""How long a client that hangs up keeps its place in the model, seen from outside.

Many ask at once, some are answered and some wait, and no answer would end by itself. They hang up one after the other, in any
order, and after each one is watched how long the hub still shows as many requests of the model as before.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import aiohttp

from benchmarks.generation.table import percentile

POLL_S = 0.02
"""More often would take the time of what is measured."""
LONGEST_S = 60.0
MOST_TOKENS = 1000


async def measure(
    client: aiohttp.ClientSession,
    url: str,
    model: str,
    *,
    people: int,
    requests: Callable[[], Awaitable[int]],
) -> list[float]:
    """Let so many clients vanish.

    Args:
        client: carries the key.
        url: of the hub.
        model: that answers.
        people: who ask at once at first.
        requests: tells how many requests the model has, as the hub shows it.

    Returns: the seconds from each hang-up until its place was free.
    """
    dice = random.Random(people)
    asking = [asyncio.create_task(_read(client, url, model, number)) for number in range(people)]
    await _until(people, people, requests)
    dice.shuffle(asking)
    freed_s = []
    for left, task in zip(range(people - 1, -1, -1), asking, strict=True):
        # Anywhere within a step of the model.
        await asyncio.sleep(dice.uniform(0.0, 0.2))
        began = time.perf_counter()
        task.cancel()
        await _until(0, left, requests)
        freed_s.append(time.perf_counter() - began)
    await asyncio.gather(*asking, return_exceptions=True)
    if not all(task.cancelled() for task in asking):
        raise RuntimeError("an answer ended before it was hung up on")
    return freed_s


def told(freed_s: list[float]) -> str:
    """Describe the delays."""
    return (
        f"{len(freed_s)} clients hung up: their place was free after {percentile(freed_s, 50) * 1000:.0f} ms "
        f"(p95 {percentile(freed_s, 95) * 1000:.0f} ms, at most {max(freed_s) * 1000:.0f} ms)"
    )


async def _read(client: aiohttp.ClientSession, url: str, model: str, number: int) -> None:
    """Let the model go on counting, and read to the end; whoever cancels it hangs up."""
    prompt = f"{number}: " + "one two three four " * 8
    body = {"model": model, "prompt": prompt.strip(), "max_tokens": MOST_TOKENS, "stream": True}
    async with client.post(f"{url}/v1/completions", json=body) as answer:
        answer.raise_for_status()
        await answer.read()


async def _until(fewest: int, most: int, requests: Callable[[], Awaitable[int]]) -> None:
    async with asyncio.timeout(LONGEST_S):
        while not fewest <= await requests() <= most:
            await asyncio.sleep(POLL_S)
