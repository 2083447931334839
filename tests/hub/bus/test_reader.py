"""How entries are found: new ones, stale ones, hidden ones, and what dead consumers leave."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hub.bus import group_read
from hub.bus.connection import connect, connect_reader
from hub.bus.keys import Keys
from hub.bus.queue import Commit, Entry, Lease, OrderedQueue, QueueLimits
from hub.bus.reader import PAGE, StreamReader
from hub.errors import BusError
from tests.servers.redis import RedisServer


@pytest.fixture
async def queue(every_redis: RedisServer) -> AsyncIterator[OrderedQueue]:
    """An empty queue."""
    client = connect(every_redis.url)
    await client.flushall()
    yield OrderedQueue(client, Keys(), "inbound", "engine", QueueLimits(lane=1000, lease_s=0.5))
    await client.aclose()


@pytest.fixture
async def reader(every_redis: RedisServer, queue: OrderedQueue) -> AsyncIterator[StreamReader]:
    """A reader called `me` in a group that exists."""
    reader = StreamReader(queue, connect_reader(every_redis.url), "me")
    await reader.ensure_group()
    yield reader
    await reader.close()


async def publish(queue: OrderedQueue, lane: str, count: int = 1) -> list[str]:
    """Publish entries; returns their ids."""
    return [
        (await queue.publish(f"{lane}{number}", lane, b"x", remember_s=60)).entry for number in range(count)
    ]


async def found(entries: AsyncIterator[Entry]) -> list[tuple[str, str]]:
    """Collect lanes and ids."""
    return [(entry.lane, entry.id) async for entry in entries]


async def test_a_group_begins_at_the_first_entry(every_redis: RedisServer, queue: OrderedQueue) -> None:
    """What was published before any consumer existed is read."""
    entries = await publish(queue, "a", 2)
    reader = StreamReader(queue, connect_reader(every_redis.url), "me")

    await reader.ensure_group()
    await reader.ensure_group()

    assert await reader.read(10) == [Entry(id=entry, lane="a") for entry in entries]
    await reader.close()


async def test_a_name_that_is_no_text_does_not_block_the_others(
    queue: OrderedQueue, reader: StreamReader
) -> None:
    """One damaged entry is read as foreign, those behind it as they are."""
    client: Any = queue.redis
    await client.xadd(queue.stream, {"lane": b"\xff", "body": "x"})
    [good] = await publish(queue, "a")

    assert [(entry.lane, entry.id) for entry in await reader.read(10)][1:] == [("a", good)]


async def test_only_what_somebody_removed_is_missing(queue: OrderedQueue, reader: StreamReader) -> None:
    """An entry that is finished between the two steps of a look is no alarm; one that was deleted by hand is."""
    client: Any = queue.redis
    [done], [removed], [waiting] = [await publish(queue, lane) for lane in "abc"]
    assert len(await reader.read(10)) == 3
    lease = await queue.enter(done, "a", "me")
    assert isinstance(lease, Lease)
    await queue.commit(lease, "me", Commit())
    await client.xdel(queue.stream, removed)

    listed = [entry.encode() for entry in (done, removed, waiting)]
    assert await queue.lanes_of(listed) == [(removed, None), (waiting, "c")]


async def test_stale_entries_are_found_once_per_lane_and_stay_where_they_are(
    queue: OrderedQueue, reader: StreamReader
) -> None:
    """A look neither claims nor counts: entering decides, and the next look finds them again."""
    client: Any = queue.redis
    first, *_ = await publish(queue, "a", PAGE + 20)
    second, _ = await publish(queue, "b", 2)
    await reader.read(1000)

    looks = [await found(reader.stale(0)) for _ in range(2)]

    assert looks == [[("a", first), ("b", second)]] * 2
    pending = await client.xpending_range(queue.stream, "engine", "-", "+", 1)
    assert (pending[0]["consumer"], pending[0]["times_delivered"]) == (b"me", 1)
    assert await found(reader.stale(3600)) == []


async def test_a_pending_entry_that_was_removed_is_no_longer_pending(
    queue: OrderedQueue, reader: StreamReader
) -> None:
    """Its lane is found by its head instead."""
    client: Any = queue.redis
    [entry] = await publish(queue, "a")
    await reader.read(10)
    await client.xdel(queue.stream, entry)

    assert await found(reader.stale(0)) == []
    assert (await client.xpending(queue.stream, "engine"))["pending"] == 0
    assert await found(reader.orphans()) == [("a", entry)]


async def test_only_hidden_heads_are_orphans(queue: OrderedQueue, reader: StreamReader) -> None:
    """Pending ones are found as stale, undelivered ones are still to be read."""
    client: Any = queue.redis
    [hidden] = await publish(queue, "hidden")
    await client.xreadgroup("engine", "gone", {queue.stream: ">"})
    await client.xgroup_delconsumer(queue.stream, "engine", "gone")
    [trimmed] = await publish(queue, "trimmed")
    await client.xdel(queue.stream, trimmed)
    await publish(queue, "pending")
    await reader.read(1)
    await publish(queue, "new")

    assert sorted(await found(reader.orphans())) == [("hidden", hidden), ("trimmed", trimmed)]


async def test_heads_of_a_stream_that_was_deleted_are_orphans(
    queue: OrderedQueue, reader: StreamReader
) -> None:
    """Although the new stream has delivered nothing yet."""
    [entry] = await publish(queue, "a")
    await queue.redis.delete(queue.stream)

    assert await found(reader.orphans()) == [("a", entry)]
    await reader.ensure_group()
    assert await found(reader.orphans()) == [("a", entry)]


async def test_names_of_dead_consumers_are_removed_and_their_entries_kept(
    queue: OrderedQueue, reader: StreamReader
) -> None:
    """A killed process leaves its name; it would stay for ever, with the entries it had."""
    client: Any = queue.redis
    await publish(queue, "a", 2)
    await client.xreadgroup("engine", "killed", {queue.stream: ">"}, count=2)
    await asyncio.sleep(0.02)
    await client.xreadgroup("engine", "me", {queue.stream: ">"}, count=1)

    assert await reader.forget_dead(idle_s=3600) == 0
    assert await reader.forget_dead(idle_s=0.01) == 1

    names = {item["name"] for item in await client.xinfo_consumers(queue.stream, "engine")}
    assert b"killed" not in names
    assert (await client.xpending(queue.stream, "engine"))["pending"] == 2
    assert [lane for lane, _ in await found(reader.stale(60))] == ["a"]


async def test_a_reader_that_waits_in_vain_is_not_taken_for_dead(
    queue: OrderedQueue, reader: StreamReader
) -> None:
    """Asking for entries is a sign of life, also when there are none."""
    client: Any = queue.redis
    await publish(queue, "a")
    await reader.read(1)
    assert await reader.read(1) == []
    [me] = await client.xinfo_consumers(queue.stream, "engine")

    # The read that found nothing took 2 s; the one before it lies further back.
    assert me["idle"] < 2_500


async def test_a_read_that_waits_is_woken_and_the_next_one_reads_on(
    every_redis: RedisServer, queue: OrderedQueue, reader: StreamReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before its time, which is what stopping would wait for otherwise; also after the connection was lost."""
    monkeypatch.setattr(group_read, "BLOCK_S", 600)
    redis: Any = queue.redis
    async with asyncio.timeout(60):
        for _ in range(2):
            waiting = asyncio.create_task(reader.read(10))
            while not (blocked := await _blocked(redis)):
                await asyncio.sleep(0.01)
            await reader.wake()
            assert await waiting == []
            waiting = asyncio.create_task(reader.read(10))
            [entry] = await publish(queue, f"lane{blocked}")
            assert await waiting == [Entry(id=entry, lane=f"lane{blocked}")]
            waiting = asyncio.create_task(reader.read(10))
            while not (blocked := await _blocked(redis)):
                await asyncio.sleep(0.01)
            await redis.client_kill_filter(_id=blocked)
            with pytest.raises(BusError):
                await waiting


async def _blocked(redis: Any) -> str:
    """Return the id of the connection that waits for entries; empty while none does."""
    clients = await redis.client_list()
    return next((one["id"] for one in clients if "b" in one["flags"] and one["cmd"] == "xreadgroup"), "")
