"""An engine inside the test's own process, for faults that need no dead process."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from redis.asyncio import Redis

import hub.bus
from hub.bus.bus import Bus
from tests.faults.fleet import message, opened_bus
from tests.faults.processes import Plan, make_consumers


def script_sha(name: str) -> bytes:
    """Return what a request to run a script holds."""
    folder = Path(hub.bus.__file__).parent / "scripts"
    source = f"{(folder / '_lane.lua').read_text('utf-8')}\n{(folder / f'{name}.lua').read_text('utf-8')}"
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest().encode()


@contextlib.asynccontextmanager
async def running_engine(plan: Plan) -> AsyncIterator[Bus]:
    """Run an engine's consumers while the block lasts; yields a bus of the same Redis."""
    stop = asyncio.Event()
    async with opened_bus(plan) as bus:
        tasks = [asyncio.create_task(consumer.run(stop)) for consumer in make_consumers(plan, bus)]
        try:
            yield bus
        finally:
            stop.set()
            await asyncio.gather(*tasks)


async def until_leased(redis: Redis, lane: str) -> bytes:
    """Wait until somebody works on a conversation; returns the owner's name."""
    async with asyncio.timeout(90):
        while True:
            owner: bytes | None = await redis.hget(f"hubbub:{{0}}:lease:inbound:{lane}", "owner")  # type: ignore[assignment]
            if owner:
                return owner
            await asyncio.sleep(0.01)


async def publish(bus: Bus, conversation: str, *words: str | int) -> list[str]:
    """Publish messages one after the other; returns their entries."""
    return [(await bus.publish(message(conversation, word))).entry for word in words]
