"""What is handed out of streams: replies on their way, input that was put aside, facts about turns and deliveries."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
from redis.asyncio import Redis

from hub.bus.keys import Keys
from hub.erasure.keyspace import Fields, Keyspace, text
from hub.erasure.person import Person
from hub.erasure.streams import IsTheirs, is_event_of
from hub.messages import envelope_of

_OUTBOUND = "outbound"


class StreamRecords:
    """Entries of one kind of stream, each with its id.

    Args:
        name: of the file.
        stream: gives the streams of one shard.
        is_theirs: tells it of one entry.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        shards: int,
        name: str,
        stream: Callable[[Keys], str],
        is_theirs: IsTheirs,
    ) -> None:
        self.name = name
        self._keyspace = Keyspace(redis, shards=shards)
        self._stream = stream
        self._is_theirs = is_theirs

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give the entries, oldest first."""
        for keys in self._keyspace.shards:
            async for page in self._keyspace.entries(self._stream(keys)):
                for entry, fields in page:
                    if person is None or self._is_theirs(person, fields):
                        yield {"entry": text(entry)} | {
                            text(name): text(value) for name, value in fields.items()
                        }


class ReplyRecords:
    """Replies that wait to be sent, of every channel."""

    name = "replies"

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self._keyspace = Keyspace(redis, shards=shards)

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give the replies as they are to go out."""
        for keys in self._keyspace.shards:
            async for streams in self._keyspace.pages(keys, _OUTBOUND):
                for stream in streams:
                    async for page in self._keyspace.entries(stream):
                        for entry, fields in page:
                            body, lane = fields.get(b"body", b""), text(fields.get(b"lane"))
                            if person is None or person.owns(lane, envelope_of(body).address):
                                yield {"entry": text(entry), "lane": lane, "message": _json(body)}


def is_own_event(person: Person, fields: Fields) -> bool:
    """Tell whether a fact is a person's and nobody else's: what others think of an answer to them in a group is not told."""
    if not is_event_of(person, fields):
        return False
    who = text(fields.get(b"person"))
    if not who or text(fields.get(b"conversation")) in person.conversations:
        return True
    return any(one.person == who for one in person.on(text(fields.get(b"connector"))))


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")
