"""Writing a stream anew takes the bytes of deleted entries out, and changes nothing else."""

from typing import Any

import pytest
from redis.asyncio import Redis

from hub.bus.connection import connect
from hub.bus.keys import Keys
from hub.erasure.rewriting import _SCRIPT, RedisStreams
from tests.servers.redis import RedisServer


async def _stream(client: Any) -> tuple[str, list[bytes]]:
    stream = Keys().stream("inbound")
    ids = [await client.xadd(stream, {"lane": "c", "body": f"canary{number}"}) for number in range(12)]
    await client.xgroup_create(stream, "engine", "0")
    await client.xreadgroup("engine", "one", {stream: ">"}, count=4)
    await client.xreadgroup("engine", "two", {stream: ">"}, count=3)
    await client.xack(stream, "engine", ids[0], ids[5])
    await client.xdel(stream, ids[0], ids[5], ids[8], ids[11])
    return stream, ids


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


@pytest.mark.parametrize("again", ["", "1"])
async def test_only_the_deleted_bytes_go(every_redis: RedisServer, again: str) -> None:
    """On the oldest server supported and on this machine's, in place and as where that is not possible."""
    redis: Redis = connect(every_redis.url)
    client: Any = redis
    await client.flushall()
    await client.config_set("rdbcompression", "no")
    stream, ids = await _stream(client)
    before = await _seen(client, stream)
    assert b"canary8" in await client.dump(stream), "nothing would have to be written anew"

    await client.eval(_SCRIPT.read_text("utf-8"), 1, stream, again)

    assert await _seen(client, stream) == before
    dumped = await client.dump(stream)
    assert [number for number in range(12) if f"canary{number}".encode() in dumped] == [
        1,
        2,
        3,
        4,
        6,
        7,
        9,
        10,
    ]
    [(_, unread)] = await client.xreadgroup("engine", "three", {stream: ">"}, count=10)
    assert [entry for entry, _ in unread] == [ids[7], ids[9], ids[10]]
    assert await client.xadd(stream, {"lane": "c", "body": "next"}) > ids[11]
    await redis.aclose()


async def test_streams_without_entries_stay_empty(redis: Redis) -> None:
    """Also those that are not there."""
    client: Any = redis
    entry = await client.xadd(Keys().events, {"kind": "turn"})
    await client.xdel(Keys().events, entry)

    await RedisStreams(redis, shards=1).compact()

    assert await client.xlen(Keys().events) == 0
    assert (await client.xinfo_stream(Keys().events))["last-generated-id"] == entry
    assert await client.exists(Keys().dead) == 0
