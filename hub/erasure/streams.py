"""What streams record: dead letters, the quarantine, facts about turns, live text, orders."""

from collections.abc import Callable, Iterable

import orjson
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys
from hub.erasure.engines import audiences_of
from hub.erasure.keyspace import Fields, Keyspace, text
from hub.erasure.person import Person, mentions
from hub.messages import envelope_of

IsTheirs = Callable[[Person, Fields], bool]


class StreamStore:
    """Entries of one kind of stream that are somebody's.

    Args:
        name: in receipts.
        streams: gives the streams of one shard.
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

    async def erase(self, person: Person) -> int:
        """Remove the entries."""
        removed = 0
        for keys in self._keyspace.shards:
            async for page in self._keyspace.entries(self._stream(keys)):
                ids = [entry for entry, fields in page if self._is_theirs(person, fields)]
                if ids:
                    with bus_errors(f"{self.name} could not be removed"):
                        removed += await self._keyspace.redis.xdel(self._stream(keys), *ids)
        return removed

    async def holds(self, person: Person) -> int:
        """Count the entries."""
        found = 0
        for keys in self._keyspace.shards:
            async for page in self._keyspace.entries(self._stream(keys)):
                found += sum(self._is_theirs(person, fields) for _, fields in page)
        return found


class DeadLetterStore(StreamStore):
    """Dead letters; they also tell of conversations and turns that nothing else knows any more."""

    def __init__(self, redis: Redis, *, shards: int) -> None:
        super().__init__(
            redis,
            shards=shards,
            name="dead_letters",
            stream=lambda keys: keys.dead,
            is_theirs=is_dead_letter_of,
        )

    async def widen(self, person: Person) -> Person:
        """Learn where the person wrote what was given up."""
        conversations, groups, turns = set[str](), set[str](), set[str]()
        for keys in self._keyspace.shards:
            async for page in self._keyspace.entries(keys.dead):
                for _, fields in page:
                    envelope = envelope_of(fields.get(b"body", b""))
                    if envelope.address is None or not person.owns(envelope.conversation, envelope.address):
                        continue
                    is_inbound = text(fields.get(b"queue")) == "inbound"
                    turns.add(text(fields.get(b"entry")) if is_inbound else envelope.turn)
                    mine = groups if envelope.address.is_group else conversations
                    mine.add(envelope.conversation)
        return person.with_more(conversations=conversations, groups=groups, turns=turns - {""})


def stream_stores(redis: Redis, *, shards: int) -> list[StreamStore]:
    """Return the stores of all streams that record something of people."""
    kinds: Iterable[tuple[str, Callable[[Keys], str], IsTheirs]] = (
        ("quarantine", lambda keys: keys.quarantine, names_them),
        ("events", lambda keys: keys.events, is_event_of),
        ("live_text", lambda keys: keys.deltas, is_event_of),
        ("orders", lambda keys: keys.control, _order),
    )
    return [
        DeadLetterStore(redis, shards=shards),
        *(
            StreamStore(redis, shards=shards, name=name, stream=stream, is_theirs=is_theirs)
            for name, stream, is_theirs in kinds
        ),
    ]


def is_dead_letter_of(person: Person, fields: Fields) -> bool:
    """Tell whether a dead letter is a person's."""
    lane, body = text(fields.get(b"lane")), fields.get(b"body", b"")
    envelope = envelope_of(body)
    if person.owns(lane, envelope.address) or person.owns(envelope.conversation, None):
        return True
    # What nobody could read may hold anything: it goes where it names them.
    return envelope.address is None and mentions(person, body)


def is_event_of(person: Person, fields: Fields) -> bool:
    """Tell whether a fact is about a turn of a person, or a judgement of theirs."""
    if text(fields.get(b"conversation")) in person.conversations or text(fields.get(b"turn")) in person.turns:
        return True
    if b"person" not in fields:
        return False
    connector, who = text(fields.get(b"connector")), text(fields.get(b"person"))
    return any(one.connector == connector and one.person == who for one in person.principals)


def _order(person: Person, fields: Fields) -> bool:
    try:
        order = orjson.loads(fields.get(b"order", b""))
    except orjson.JSONDecodeError:
        return False
    if not isinstance(order, dict):
        return False
    if order.get("conversation") in person.conversations or order.get("turn") in person.turns:
        return True
    audiences = order.get("audiences")
    return isinstance(audiences, list) and any(one in audiences for one in audiences_of(person))


def names_them(person: Person, fields: Fields) -> bool:
    """Tell whether an entry that nobody can read names a person."""
    return any(mentions(person, value) for value in fields.values())
