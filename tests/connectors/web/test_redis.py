"""The web channel over the hub's own live text on a real Redis, by two processes that share nothing else."""

import asyncio
import random
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from hub.bus.connection import connect, connect_reader
from hub.live import Live
from tests.connectors.web.edges import Bus, HubProcess, Page, open_page
from tests.servers.redis import RedisServer

ALPHABET = "abcdefghij klmnop äöüß 日本語 👍🏽👩‍🚀\n"


@asynccontextmanager
async def hub_process(bus: Bus, url: str) -> AsyncIterator[HubProcess]:
    """Run a process of the hub with clients of its own."""
    client, stop = connect(url), asyncio.Event()
    live = Live(client, connect_reader(url))
    tailing = asyncio.create_task(live.run(stop))
    await live.ready.wait()
    process = HubProcess(bus, live=live)
    await process.start()
    try:
        yield process
    finally:
        await process.stop()
        tailing.cancel()
        await asyncio.gather(tailing, return_exceptions=True)
        await client.aclose()


async def read_up_to(page: Page, have: str, text: str) -> str:
    """Apply deltas as a client must, until the text is there."""
    while have != text:
        frame = await page.receive()
        if frame["t"] == "reset":
            have = ""
        elif frame["t"] == "delta" and frame["offset"] <= len(have):
            have += frame["text"][len(have) - frame["offset"] :]
        assert text.startswith(have), (have, text)
    return have


async def test_answer_cut_again_and_again_is_exact_on_any_process(
    redis: Redis, redis_server: RedisServer
) -> None:
    """Fifty drops at random characters, the next process each time: nothing is missing and nothing doubled."""
    bus, dice = Bus(), random.Random(7)
    engine = Live(redis, connect_reader(redis_server.url))
    text = have = ""
    async with hub_process(bus, redis_server.url) as one, hub_process(bus, redis_server.url) as two:
        async with open_page(one) as page:
            handle, token = await page.ask("m1", "Tell me"), page.token
        turn = await bus.next_turn()
        writer = engine.writer(turn, bus.messages[turn].conversation)
        for number in range(50):
            async with open_page((one, two)[number % 2], token) as page:
                crc = zlib.crc32(have.encode())
                await page.send(t="resume", turn=handle, have=len(have), crc=crc)
                piece = "".join(dice.choices(ALPHABET, k=dice.randint(1, 40)))
                text += piece
                await writer.add(piece)
                await writer.close()
                have = await read_up_to(page, have, text)
            have = have[: dice.randint(0, len(have))]

        async with open_page(two, token) as page:
            await one.answer(turn, text)
            final = await page.receive()
            assert (final["t"], final["turn"], final["text"]) == ("final", handle, text)
