"""Live text: exact to the character, on every process, and never in the way of anything."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from hub.bus.connection import connect, connect_reader
from hub.bus.keys import Keys, shard_of
from hub.live import LISTENER_QUEUE, Live, LiveEvent
from hub.messages import Address, OutboundMessage
from tests.servers.redis import RedisServer


@pytest.fixture
async def processes(redis_server: RedisServer, redis: Redis) -> AsyncIterator[list[Live]]:
    """Two processes that tail the live streams of three shards."""
    stop = asyncio.Event()
    processes = [Live(redis, connect_reader(redis_server.url), shards=3) for _ in range(2)]
    running = [asyncio.create_task(live.run(stop)) for live in processes]
    await asyncio.gather(*(live.ready.wait() for live in processes))
    yield processes
    stop.set()
    await asyncio.gather(*running)


async def take(events: AsyncIterator[LiveEvent], until: str) -> list[LiveEvent]:
    """Collect events up to the first one of a kind."""
    taken: list[LiveEvent] = []
    async with asyncio.timeout(20):
        async for event in events:
            taken.append(event)
            if event.kind == until:
                break
    return taken


def reply(conversation: str, turn: str) -> OutboundMessage:
    """Make a reply."""
    address = Address(connector="web", account="a", chat="c", person="p")
    return OutboundMessage(
        reply_id=f"{turn}:0", turn=turn, conversation=conversation, address=address, text="done"
    )


async def test_every_process_hears_each_character_once(processes: list[Live]) -> None:
    """Offsets count code points, so that a client can tell what it has."""
    said = reply("c", "t")
    pieces = ["Gr", "üße", " 👋", " an", " alle", "\n"]
    async with processes[0].listen("c") as here, processes[1].listen("c") as there:
        writer = processes[0].writer("t", "c")
        await writer.typing()
        for piece in pieces:
            await writer.add(piece)
            await asyncio.sleep(0)
        await writer.close()
        await processes[0].announce(said)

        heard = [await take(events, "final") for events in (here, there)]

    for events in heard:
        text = ""
        assert events[0].kind == "typing"
        for event in events:
            if event.kind == "delta":
                assert event.offset == len(text)
                text += event.text
        assert text == "".join(pieces)
        assert events[-1].message == said
    assert await processes[1].partial("t") == "".join(pieces)


async def test_what_is_added_while_a_batch_is_written_is_sent_without_a_further_word(
    processes: list[Live],
) -> None:
    """The last piece before a long pause does not wait for the next."""
    async with processes[1].listen("c") as events:
        writer = processes[0].writer("t", "c")
        heard = ""
        for number in range(30):
            await writer.add(f"{number} ")
            await asyncio.sleep(0.005)
        async with asyncio.timeout(30):
            async for event in events:
                heard += event.text
                if heard.endswith("29 "):
                    break
        await writer.close()

    assert heard == "".join(f"{number} " for number in range(30))


async def test_a_reset_takes_back_what_was_shown(processes: list[Live]) -> None:
    """A second worker starts the turn again from its first character."""
    async with processes[1].listen("c") as events:
        first = processes[0].writer("t", "c")
        await first.add("half an ans")
        await first.close()
        second = processes[1].writer("t", "c")
        await second.reset()
        await second.add("whole")
        await second.close()
        await processes[0].announce(reply("c", "t"))

        kinds = [(event.kind, event.offset, event.text) for event in await take(events, "final")]

    assert kinds == [("delta", 0, "half an ans"), ("reset", 0, ""), ("delta", 0, "whole"), ("final", 0, "")]
    assert await processes[0].partial("t") == "whole"


async def test_conversations_hear_their_own_text_only(processes: list[Live]) -> None:
    """On every shard."""
    names = [f"c{number}" for number in range(6)]
    heard = {}
    for name in names:
        async with processes[0].listen(name) as events:
            for other in names:
                await processes[1].announce(reply(other, other))
            heard[name] = await take(events, "final")

    assert all([event.turn for event in heard[name]] == [name] for name in names)


async def test_a_listener_that_reads_nothing_is_bounded(processes: list[Live]) -> None:
    """It loses the oldest events; the newest is there."""
    async with processes[0].listen("c") as events, processes[0].listen("c") as watching:
        for number in range(LISTENER_QUEUE + 20):
            await processes[1].announce(reply("c", str(number)))
        async with asyncio.timeout(20):
            async for event in watching:
                if event.turn == str(LISTENER_QUEUE + 19):
                    break

        first = await anext(events)

    assert first.turn == "20"


async def test_damaged_events_are_skipped(processes: list[Live], redis: Redis) -> None:
    """Whatever somebody writes onto the stream."""
    async with processes[0].listen("c") as events:
        deltas = Keys(shard_of("c", 3)).deltas
        for fields in ({"conversation": "c"}, {"conversation": "c", "kind": "x", "turn": "t"}):
            await redis.xadd(deltas, fields)  # type: ignore[arg-type]
        await redis.xadd(deltas, {"conversation": "c", "kind": "final", "turn": "t", "message": "{"})
        await processes[1].announce(reply("c", "t"))

        assert [event.kind for event in await take(events, "final")] == ["final"]


async def test_a_writer_without_a_server_gives_up_in_silence() -> None:
    """Live text is a courtesy: its failure is not the turn's."""
    away = connect("redis://127.0.0.1:1")
    writer = Live(away, away).writer("t", "c")

    await writer.typing()
    await writer.add("text")
    await writer.close()
