"""What is kept of conversations and of single turns: windows, facts, summaries, judgements, deliveries, receipts."""

from collections.abc import AsyncIterator, Sequence

from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys, plain
from hub.erasure.keyspace import Keyspace, paged, text
from hub.erasure.person import Person
from hub.messages import Message

_OF_ONE = ("history", "receipts", "summary", "preferences", "version")
_SIGNED = ("history", "receipts")
"""Lists whose rows say who asked, where several people share them."""


class _Row(Message):
    """What tells whose a row is."""

    turn: str = ""
    who: str = ""

    @classmethod
    def of(cls, row: bytes) -> "_Row":
        """Read it; an empty one where the row is damaged."""
        try:
            return cls.model_validate_json(row)
        except ValueError:
            return cls()


class ConversationStore:
    """Windows, facts, summaries and preferences; of a group, the turns and facts of one of its members."""

    name = "memory"

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self._keyspace = Keyspace(redis, shards=shards)
        self._redis = self._keyspace.redis

    async def widen(self, person: Person) -> Person:
        """Learn the turns, and the groups in which the person told something."""
        turns, groups = set[str](), set(person.groups)
        for keys in self._keyspace.shards:
            groups |= await self._groups_with_facts(keys, person)
            async for page in self._keyspace.pages(keys, "history"):
                for key in page:
                    name = key.removeprefix(keys.prefix("history"))
                    if name in person.conversations:
                        turns |= {turn for turn, _ in await self._rows(key)}
                    elif found := await self._rows(key, person):
                        groups.add(name)
                        turns |= {turn for turn, _ in found}
        return person.with_more(turns=turns - {""}, groups=groups - person.conversations)

    async def erase(self, person: Person) -> int:
        """Remove them."""
        removed = 0
        for keys in self._keyspace.shards:
            removed += await self._keyspace.delete(await self._own(keys, person))
            for key in sorted(getattr(keys, kind)(group) for group in person.groups for kind in _SIGNED):
                for _, row in await self._rows(key, person):
                    with bus_errors("a turn could not be removed"):
                        removed += await self._redis.lrem(key, 1, row)
        return removed

    async def holds(self, person: Person) -> int:
        """Count what is left."""
        found = 0
        for keys in self._keyspace.shards:
            found += await self._keyspace.existing(await self._own(keys, person))
            for kind in _SIGNED:
                async for page in self._keyspace.pages(keys, kind):
                    for key in page:
                        found += len(await self._rows(key, person))
        return found

    async def _own(self, keys: Keys, person: Person) -> set[str]:
        """Name all keys that are theirs alone, whether they exist or not."""
        names = {getattr(keys, kind)(name) for name in person.conversations for kind in _OF_ONE}
        for kind in (keys.facts, keys.style):
            names |= {kind(name) for name in person.conversations}
            names |= {kind(group, one.person) for group in person.groups for one in person.principals}
        prefix = keys.prefix("origin")
        async for page in self._keyspace.pages(keys, "origin"):
            for key in page:
                conversation = key.removeprefix(prefix).partition(":")[0]
                if conversation in person.conversations or (
                    conversation in person.groups and await self._is_of_their_turns(key, person)
                ):
                    names.add(key)
        return names

    async def _is_of_their_turns(self, key: str, person: Person) -> bool:
        with bus_errors("what an edit replaces could not be read"):
            fields = await self._redis.hgetall(key)
        return any(text(entry) in person.turns for pair in fields.items() for entry in pair)

    async def _groups_with_facts(self, keys: Keys, person: Person) -> set[str]:
        groups = set[str]()
        prefix = keys.prefix("facts")
        async for page in self._keyspace.pages(keys, "facts"):
            for key in page:
                group, _, who = key.removeprefix(prefix).partition(":")
                for one in person.principals:
                    if who == plain(one.person) and group.startswith(f"{one.connector}-"):
                        groups.add(group)
        return groups

    async def _rows(self, key: str, person: Person | None = None) -> list[tuple[str, bytes]]:
        """Return turns of a history with the bytes of their rows: all, or those that somebody asked in a group."""
        with bus_errors("a history could not be read"):
            rows = await self._redis.lrange(key, 0, -1)
        found = [(_Row.of(row), row) for row in rows]
        return [(one.turn, row) for one, row in found if person is None or one.who in person.marks]


class TurnStore:
    """What is kept of single turns by their ids: judgements, deliveries, live text so far."""

    name = "turns"

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self._keyspace = Keyspace(redis, shards=shards)
        self._redis = self._keyspace.redis

    async def widen(self, person: Person) -> Person:
        """Learn turns from deliveries, which may outlive the history."""
        turns = set[str]()
        async for keys, page, rows in self._hashes("sent", ("lane",)):
            for key, (lane,) in zip(page, rows, strict=True):
                if lane in person.conversations:
                    turns.add(key.removeprefix(keys.prefix("sent")).partition(":")[0])
        return person.with_more(turns=turns)

    async def erase(self, person: Person) -> int:
        """Remove them; of a judgement in a group, the person's own."""
        removed = await self._keyspace.delete(self._own(person))
        async for key, fields in self._judgements(person):
            with bus_errors("a judgement could not be removed"):
                removed += await self._redis.hdel(key, *fields)
        return removed

    async def holds(self, person: Person) -> int:
        """Count what is left."""
        found = await self._keyspace.existing(self._own(person))
        async for _, fields in self._judgements(person):
            found += len(fields)
        return found

    def _own(self, person: Person) -> set[str]:
        return {
            key
            for keys in self._keyspace.shards
            for turn in person.turns
            for key in (
                keys.judgements(turn),
                keys.stopped(turn),
                keys.partial(turn),
                keys.sent(f"{turn}:0"),
            )
        }

    async def _judgements(self, person: Person) -> AsyncIterator[tuple[str, list[str]]]:
        """Find what they judged of the answers to others."""
        theirs = sorted({f"{one.connector}:{one.person}" for one in person.principals})
        if not theirs:
            return
        async for _, page, rows in self._hashes("judgements", theirs):
            for key, values in zip(page, rows, strict=True):
                if fields := [field for field, value in zip(theirs, values, strict=True) if value]:
                    yield key, fields

    async def _hashes(
        self, kind: str, fields: Sequence[str]
    ) -> AsyncIterator[tuple[Keys, list[str], list[tuple[str, ...]]]]:
        """Give some fields of all hashes of a kind, page by page."""
        for keys in self._keyspace.shards:
            async for found in self._keyspace.pages(keys, kind):
                for page in paged(found):
                    with bus_errors("hashes could not be read"):
                        pipe = self._redis.pipeline(transaction=False)
                        for key in page:
                            pipe.hmget(key, list(fields))
                        rows = await pipe.execute()
                    yield keys, page, [tuple(text(value) for value in row) for row in rows]
