"""Small state of connectors, on a real Redis."""

import asyncio
from typing import Any

from redis.asyncio import Redis

from hub.bus.keys import Keys
from hub.bus.state import State


async def test_the_first_value_stands(redis: Redis) -> None:
    """Whoever comes later is told what it is."""
    states = [State(redis, "telegram") for _ in range(20)]

    kept = await asyncio.gather(*(state.keep_first("album", f"v{n}", 60) for n, state in enumerate(states)))

    assert len(set(kept)) == 1
    assert await states[0].get("album") == kept[0]
    client: Any = redis
    assert 0 < await client.pttl(Keys().state("telegram", "album")) <= 60_000


async def test_a_value_that_is_gone_makes_room(redis: Redis) -> None:
    """Deleted or run out."""
    state = State(redis, "telegram")
    await state.keep_first("a", "one")
    await state.delete("a")

    assert await state.keep_first("a", "two") == "two"
    assert await state.keep_first("a", "three") == "two"
