"""Orders to every process at once."""

import asyncio

from redis.asyncio import Redis

from hub.bus.connection import connect_reader
from hub.bus.control import Control, Order
from hub.bus.keys import Keys
from tests.servers.redis import RedisServer


async def test_an_order_reaches_every_process_that_listens(redis: Redis, redis_server: RedisServer) -> None:
    """Also the one that gave it; damaged entries are passed over."""
    heard: asyncio.Queue[tuple[str, Order]] = asyncio.Queue()
    stop = asyncio.Event()
    controls = {name: Control(redis, connect_reader(redis_server.url)) for name in ("one", "two")}
    for name, control in controls.items():
        control.listen(lambda order, name=name: heard.put_nowait((name, order)))  # type: ignore[misc]
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        for control in controls.values():
            tasks.create_task(control.run(stop))
            await control.ready.wait()

        await redis.xadd(Keys().control, {"order": "{"})
        order = Order(action="cancel", conversation="web-1", turn="1-0")
        await controls["one"].send(order)

        assert sorted([await heard.get() for _ in controls], key=lambda item: item[0]) == [
            ("one", order),
            ("two", order),
        ]
        assert heard.empty()
        stop.set()
