"""Writing a stream anew takes the bytes of deleted entries out, and changes nothing else."""

import asyncio
import time
from typing import Any

from redis.asyncio import Redis

from hub.bus.connection import connect
from hub.bus.keys import Keys
from hub.erasure import rewriting
from hub.erasure.rewriting import RedisStreams
from tests.servers.redis import RedisServer

INBOUND = Keys().stream("inbound")


async def _stream(client: Any) -> list[bytes]:
    ids = [await client.xadd(INBOUND, {"lane": "c", "body": f"canary{number}"}) for number in range(12)]
    await client.xgroup_create(INBOUND, "engine", "0")
    await client.xreadgroup("engine", "one", {INBOUND: ">"}, count=4)
    await client.xreadgroup("engine", "two", {INBOUND: ">"}, count=3)
    await client.xack(INBOUND, "engine", ids[0], ids[5])
    await client.xdel(INBOUND, ids[0], ids[5], ids[8], ids[11])
    return ids


async def _seen(client: Any, stream: str) -> tuple[Any, ...]:
    pending = await client.xpending_range(stream, "engine", "-", "+", 100)
    [group] = await client.xinfo_groups(stream)
    info = await client.xinfo_stream(stream)
    return (
        await client.xrange(stream),
        [(one["message_id"], one["consumer"], one["times_delivered"]) for one in pending],
        group["last-delivered-id"],
        info["last-generated-id"],
    )


async def test_only_the_deleted_bytes_go(every_redis: RedisServer) -> None:
    """On the oldest server supported and on this machine's; what is pending or unread stays so."""
    redis: Redis = connect(every_redis.url)
    client: Any = redis
    await client.flushall()
    await client.config_set("rdbcompression", "no")
    ids = await _stream(client)
    before = await _seen(client, INBOUND)
    assert b"canary8" in await client.dump(INBOUND), "nothing would have to be written anew"

    await RedisStreams(redis, shards=1).compact()

    assert await _seen(client, INBOUND) == before
    dumped = await client.dump(INBOUND)
    left = [number for number in range(12) if f"canary{number}".encode() in dumped]
    assert left == [1, 2, 3, 4, 6, 7, 9, 10]
    [(_, unread)] = await client.xreadgroup("engine", "three", {INBOUND: ">"}, count=10)
    assert [entry for entry, _ in unread] == [ids[7], ids[9], ids[10]]
    assert await client.xadd(INBOUND, {"lane": "c", "body": "next"}) > ids[11]
    assert await client.keys("*rewritten*") == []
    await redis.aclose()


async def test_whoever_waits_for_entries_notices_nothing(every_redis: RedisServer) -> None:
    """A blocked reader, with or without a group, gets the next entry and no error, though it may be woken before."""
    redis: Redis = connect(every_redis.url)
    client: Any = redis
    await client.flushall()
    ids = await _stream(client)
    await client.xreadgroup("engine", "three", {INBOUND: ">"}, count=10)
    group, tail = connect(every_redis.url), connect(every_redis.url)
    waiting = [
        asyncio.create_task(_next(group, "xreadgroup", "engine", "four", {INBOUND: ">"})),
        asyncio.create_task(_next(tail, "xread", {INBOUND: ids[10]})),
    ]
    async with asyncio.timeout(5):
        while int((await client.info("clients"))["blocked_clients"]) < 2:
            await asyncio.sleep(0.01)

    await RedisStreams(redis, shards=1).compact()

    entry = await client.xadd(INBOUND, {"lane": "c", "body": "next"})
    async with asyncio.timeout(5):
        assert await asyncio.gather(*waiting) == [[entry], [entry]]
    for one in (redis, group, tail):
        await one.aclose()


async def _next(client: Any, command: str, *arguments: Any) -> list[bytes]:
    """Read until there is something."""
    while True:
        for _, entries in await getattr(client, command)(*arguments, block=1000) or []:
            if entries:
                return [entry for entry, _ in entries]


async def test_work_goes_on_while_a_long_stream_is_written_anew(redis: Redis, monkeypatch: Any) -> None:
    """What is added stays, what is finished meanwhile stays away, wherever on the stream it lies."""
    client: Any = redis
    monkeypatch.setattr(rewriting, "FIRST_LOOK", 4)
    ids = [await client.xadd(INBOUND, {"body": f"m{number}"}) for number in range(1500)]
    streams = RedisStreams(redis, shards=1)
    steps, copy = 0, streams._copy

    async def busy_copy(**arguments: Any) -> Any:
        nonlocal steps
        copied = await copy(**arguments)
        # One of the oldest, one in the middle, one of those that were not copied yet, and a new one.
        await client.xdel(INBOUND, ids[steps], ids[700 + steps], ids[1490 - steps])
        ids.append(await client.xadd(INBOUND, {"body": "new"}))
        steps += 1
        return copied

    monkeypatch.setattr(streams, "_copy", busy_copy)
    await streams.compact()

    gone = {ids[place] for at in range(steps) for place in (at, 700 + at, 1490 - at)}
    assert steps > 10
    assert [entry for entry, _ in await client.xrange(INBOUND)] == [one for one in ids if one not in gone]


async def test_the_copy_of_a_killed_process_is_made_again(redis: Redis) -> None:
    """It may hold what was removed since."""
    client: Any = redis
    entry = await client.xadd(INBOUND, {"body": "kept"})
    await client.xadd(Keys().rewritten(INBOUND), {"body": "canary"})

    await RedisStreams(redis, shards=1).compact()

    assert await client.xrange(INBOUND) == [(entry, {b"body": b"kept"})]
    assert await client.keys("*rewritten*") == []


async def test_a_stream_lives_no_longer_than_before(redis: Redis) -> None:
    """One that goes by itself still does; the others stay."""
    client: Any = redis
    await client.xadd(Keys().answers("me"), {"answer": "a"})
    await client.expire(Keys().answers("me"), 600)
    await client.xadd(Keys().events, {"kind": "turn"})

    await RedisStreams(redis, shards=1).compact()

    assert 0 < await client.ttl(Keys().answers("me")) <= 600
    assert await client.ttl(Keys().events) == -1


async def test_calls_between_processes_that_are_over_are_dropped(redis: Redis) -> None:
    """Nobody waits for them, and they may hold what somebody asked; those of this moment stay."""
    client: Any = redis
    old = int((time.time() - 60) * 1000)
    for stream in (Keys().calls("search"), Keys().answers("me")):
        await client.xadd(stream, {"request": "canary"}, id=f"{old}-0")
        await client.xadd(stream, {"request": "of now"})

    await RedisStreams(redis, shards=1).compact()

    for stream in (Keys().calls("search"), Keys().answers("me")):
        assert [fields for _, fields in await client.xrange(stream)] == [{b"request": b"of now"}]
        assert b"canary" not in await client.dump(stream)


async def test_streams_without_entries_stay_empty(redis: Redis) -> None:
    """Also those that are not there."""
    client: Any = redis
    entry = await client.xadd(Keys().events, {"kind": "turn"})
    await client.xdel(Keys().events, entry)

    await RedisStreams(redis, shards=1).compact()

    assert await client.xlen(Keys().events) == 0
    assert (await client.xinfo_stream(Keys().events))["last-generated-id"] == entry
    assert await client.exists(Keys().dead) == 0
