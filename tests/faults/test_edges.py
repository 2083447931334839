"""What the far side of a channel does again and again, and what it hears while Redis is away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from connectors.base import Accepted
from hub.bus.bus import Bus
from hub.errors import BusFull
from hub.messages import InboundMessage
from hub.settings import BusSettings
from tests.connectors.http.program import make_connector, message, post, serving
from tests.servers.redis import RedisServer

REPETITIONS = 50


@contextlib.asynccontextmanager
async def _edge(url: str, **limits: int) -> AsyncIterator[tuple[Bus, str]]:
    """Serve the http channel over a real bus, as its runner does; gives the bus and where to post."""
    bus, connector = Bus(url, BusSettings(**limits)), make_connector("http://127.0.0.1:1/")

    async def publish(inbound: InboundMessage) -> Accepted:
        published = await bus.publish(inbound)
        if published.status == "FULL":
            raise BusFull(published.retry_after_s)
        return Accepted(published.entry, published.status == "DUPLICATE", published.status == "LANE_FULL")

    running = asyncio.create_task(connector.run(publish))
    await asyncio.sleep(0)
    try:
        async with serving(connector) as address:
            yield bus, address
    finally:
        running.cancel()
        await asyncio.wait({running})
        await bus.close()


async def test_a_storm_of_redeliveries_is_one_message(tmp_path: Path) -> None:
    """Fifty at once, through two processes' worth of connectors: all are told success, and one entry is there."""
    with RedisServer(tmp_path) as server:
        async with _edge(server.url) as (bus, one), _edge(server.url) as (_, other):
            posts = (post((one, other)[number % 2], message()) for number in range(REPETITIONS))
            answers = await asyncio.gather(*posts)

            assert {status for status, _, _ in answers} == {202}
            assert len({body["turn"] for _, body, _ in answers}) == 1
            assert sum(not body["duplicate"] for _, body, _ in answers) == 1
            assert await bus.backlog() == 1


async def test_without_redis_the_far_side_is_asked_to_come_again(tmp_path: Path) -> None:
    """503 with a time; what it sends again afterwards is accepted, once."""
    with RedisServer(tmp_path) as server:
        async with _edge(server.url) as (bus, address):
            server.kill()
            status, _, headers = await post(address, message())
            assert (status, int(headers["Retry-After"]) > 0) == (503, True)

            server.start()
            answers = [await post(address, message()) for _ in range(2)]
            assert [(status, body["duplicate"]) for status, body, _ in answers] == [(202, False), (202, True)]
            assert await bus.backlog() == 1


async def test_one_sender_fills_a_conversation_and_no_more(tmp_path: Path) -> None:
    """Whoever writes without end is told so; everybody else gets in, until there is no room for anybody."""
    with RedisServer(tmp_path) as server:
        async with _edge(server.url, max_lane=5, max_backlog=12) as (bus, address):
            flood = [await post(address, message(id=f"f{number}")) for number in range(20)]
            others = [
                await post(address, message(id=f"o{number}", conversation=f"o{number}"))
                for number in range(10)
            ]

            assert [status for status, _, _ in flood] == [202] * 5 + [429] * 15
            assert [status for status, _, _ in others] == [202] * 7 + [503] * 3
            refused = [headers for status, _, headers in (*flood, *others) if status != 202]
            assert all(int(headers["Retry-After"]) > 0 for headers in refused)
            assert await bus.backlog() == 12
