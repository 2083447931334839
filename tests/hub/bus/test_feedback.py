"""What people think of answers: once for each person and answer, whoever tells it and however often."""

import asyncio
from typing import Any

from redis.asyncio import Redis

from hub.bus.feedback import FeedbackBook
from hub.bus.keys import Keys
from hub.events import FeedbackEvent, parse_event


async def _told(redis: Redis) -> list[tuple[str, str]]:
    client: Any = redis
    events = [parse_event(fields) for _, fields in await client.xrange(Keys().events)]
    return [(event.person, event.value) for event in events if isinstance(event, FeedbackEvent)]


async def _kept(redis: Redis, turn: str) -> dict[bytes, bytes]:
    client: Any = redis
    found: dict[bytes, bytes] = await client.hgetall(Keys().judgements(turn))
    return found


async def test_the_same_judgement_again_is_no_news(redis: Redis) -> None:
    """A button pressed by two processes at once is one judgement; another value takes its place."""
    book = FeedbackBook(redis, "telegram", shards=1)

    await asyncio.gather(*(book.feedback("1-0", "c", "ann", "up") for _ in range(20)))
    await book.feedback("1-0", "c", "ann", "down")
    await book.feedback("1-0", "c", "bob", "up")

    assert await _told(redis) == [("ann", "up"), ("ann", "down"), ("bob", "up")]
    assert await _kept(redis, "1-0") == {b"telegram:ann": b"down", b"telegram:bob": b"up"}


async def test_a_judgement_can_be_taken_back(redis: Redis) -> None:
    """The fact is told; taking back what was never said is none."""
    book = FeedbackBook(redis, "web", shards=1)

    await book.feedback("1-0", "c", "ann", "")
    await book.feedback("1-0", "c", "ann", "up")
    await book.feedback("1-0", "c", "ann", "")

    assert await _told(redis) == [("ann", "up"), ("ann", "")]
    assert await _kept(redis, "1-0") == {}


async def test_a_judgement_of_a_turn_does_not_stay_for_ever(redis: Redis) -> None:
    """It lies in its conversation's shard, for a while."""
    shards = 4
    await FeedbackBook(redis, "web", shards=shards).feedback("1-0", "somewhere", "ann", "up")

    client: Any = redis
    keys = [key async for key in client.scan_iter(match="*judgements*")]
    assert len(keys) == 1
    assert await client.ttl(keys[0]) > 86_400
