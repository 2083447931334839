"""Small state that processes of a connector share, on a real Redis."""

import asyncio
import random
import sys
from typing import Any

from redis.asyncio import Redis

from hub.bus.keys import Keys
from hub.bus.state import State
from hubbub.testing import MemoryStore


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


async def test_name_is_claimed_once(redis: Redis) -> None:
    """Of many who ask at the same time one gets it, until its time has passed."""
    states = [State(redis, "web") for _ in range(20)]

    claims = await asyncio.gather(*(state.claim("ticket", 60) for state in states))
    await states[0].claim("short", 0.001)
    await asyncio.sleep(0.05)

    assert sorted(claims) == [False] * 19 + [True]
    assert await states[1].claim("short", 60)


async def test_count_goes_up_and_down(redis: Redis) -> None:
    """Each step returns the sum; owners do not share."""
    state = State(redis, "web")

    sums = [
        await state.increment("day", 60),
        await state.increment("day", 60),
        await state.increment("day", 60, -1),
    ]

    assert sums == [1, 2, 1]
    assert await State(redis, "email").increment("day", 60) == 1


async def test_the_store_of_tests_behaves_like_this_one(redis: Redis) -> None:
    """Whatever is done to both, in whichever order, both answer the same."""
    seed = random.SystemRandom().randrange(2**32)
    sys.stderr.write(f"seed {seed}\n")
    draw = random.Random(seed)
    stores: tuple[Any, Any] = (State(redis, "telegram"), MemoryStore())
    names = {"value": ["a", "b"], "count": ["n"], "set": ["s"]}

    for _ in range(500):
        kind = draw.choice(list(names))
        name, text, number = draw.choice(names[kind]), draw.choice("xyzü"), draw.randrange(-3, 4)
        does: dict[str, list[tuple[Any, ...]]] = {
            "value": [
                ("get", name),
                ("set", name, text),
                ("keep_first", name, text, 60),
                ("claim", name, 60),
                ("delete", name),
            ],
            "count": [("increment", name, 60, number), ("get", name), ("delete", name)],
            "set": [("add", name, text), ("discard", name, text), ("members", name), ("delete", name)],
        }
        step = draw.choice(does[kind])
        redis_says, memory_says = [await getattr(store, step[0])(*step[1:]) for store in stores]
        assert redis_says == memory_says, step
