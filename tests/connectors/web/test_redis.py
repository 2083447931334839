"""The web channel over the hub's own live text and state on a real Redis, by processes that share nothing else."""

import asyncio
import hashlib
import random
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from redis.asyncio import Redis

from connectors.web.mailed import WAIT_S, MailedAnswers
from connectors.web.tickets import Tickets
from connectors.web.visitors import Visitor
from hub.bus.connection import connect, connect_reader
from hub.bus.state import State
from hub.live import Live
from hub.messages import Address, OutboundMessage, utc_now
from tests.connectors.web.edges import KEY, Bus, HubProcess
from tests.connectors.web.memory import Letters
from tests.connectors.web.page import Page, open_page
from tests.servers.redis import RedisServer

CUTS = 500
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


async def test_answer_cut_five_hundred_times_is_exact_on_any_process(
    redis: Redis, redis_server: RedisServer
) -> None:
    """The line is cut after any character, the next process takes over: nothing is missing and nothing doubled."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - a failure has to be repeated
    bus, dice = Bus(), random.Random(seed)
    engine = Live(redis, connect_reader(redis_server.url))
    text = have = ""
    async with hub_process(bus, redis_server.url) as one, hub_process(bus, redis_server.url) as two:
        async with open_page(one) as page:
            handle, token = await page.ask("m1", "Tell me"), page.token
        turn = await bus.next_turn()
        writer = engine.writer(turn, bus.messages[turn].conversation)
        for number in range(CUTS):
            process = (one, two)[number % 2]
            async with open_page(process, token) as page:
                crc = zlib.crc32(have.encode())
                await page.send(t="resume", turn=handle, have=len(have), crc=crc)
                piece = "".join(dice.choices(ALPHABET, k=dice.randint(1, 40)))
                text += piece
                await writer.add(piece)
                await writer.close()
                have = await read_up_to(page, have, text)
                process.cut()
            # What arrived last may not have been taken any more.
            have = have[: dice.randint(max(0, len(have) - 60), len(have))]

        async with open_page(two, token) as page:
            await page.send(t="resume", turn=handle, have=len(have), crc=zlib.crc32(have.encode()))
            have = await read_up_to(page, have, text)
            await one.answer(turn, text)
            final = await page.receive()

    assert (final["t"], final["turn"]) == ("final", handle)
    assert digest(have) == digest(final["text"]) == digest(text)


def digest(text: str) -> str:
    """Return what two texts have in common only when they are the same."""
    return hashlib.sha256(text.encode()).hexdigest()


async def test_many_processes_mail_an_answer_once(redis: Redis) -> None:
    """All of them look at the same moment; the store decides who has it."""
    letters, store = Letters(), State(redis, "web")
    first = MailedAnswers(store, letters)
    reply = OutboundMessage(
        reply_id="1-0:0",
        turn="1-0",
        conversation="web-hub-a",
        address=Address(connector="web", account="hub", chat="a", person="a"),
        text="Here.",
    )
    await first.leave("web-hub-a", "ada@example.org")
    await first.expect(reply)
    await store.delete("here:web-hub-a")
    later = [
        MailedAnswers(State(redis, "web"), letters, now=lambda: utc_now() + timedelta(seconds=WAIT_S))
        for _ in range(10)
    ]
    await asyncio.gather(*(process.look() for process in later))
    await first.expect(reply)
    await asyncio.gather(*(process.look() for process in later))

    assert letters.sent == [("ada@example.org", "Here.")]
    assert await store.members("due") == []


async def test_ticket_of_one_process_is_good_at_another_once(redis: Redis) -> None:
    """Twenty of them get it at the same moment, one takes it."""
    processes = [Tickets(KEY, State(redis, "web")) for _ in range(20)]
    visitor = Visitor("0" * 32, "shop")
    ticket = processes[0].issue(visitor, "https://shop.example")

    taken = await asyncio.gather(*(each.redeem(ticket, "https://shop.example") for each in processes))

    assert [who for who in taken if who] == [visitor]
