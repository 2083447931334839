"""Who somebody is: their identities on several channels, what they are known as, and numbers that carry their name."""

from collections.abc import Callable, Iterable
from typing import Any

import orjson
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.erasure.keyspace import Keyspace, text
from hub.erasure.person import Person, Principal
from hub.messages import conversation_id

ExternalKeys = Callable[[Person], Iterable[str]]
"""Gives what the external keys of a person's messages begin with, where these carry their name."""


class IdentityStore:
    """The links between channels, and where each identity wrote."""

    name = "identities"

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self._keyspace = Keyspace(redis, shards=shards)
        self._redis = self._keyspace.redis
        self._first = self._keyspace.shards[0]

    async def widen(self, person: Person) -> Person:
        """Learn linked identities, how the person is addressed, and where they wrote."""
        for mark in sorted(person.marks):
            with bus_errors("linked identities could not be read"):
                joined = await self._redis.get(self._first.people(f"person:{mark}"))
                members = (
                    await self._redis.smembers(self._first.people(f"members:{text(joined)}"))
                    if joined
                    else ()
                )
                places = await self._redis.zrange(self._first.people(f"conversations:{mark}"), 0, -1)
            person = person.with_more(
                marks={text(member) for member in members}, conversations={text(place) for place in places}
            )
            for keys in self._keyspace.shards:
                with bus_errors("where somebody wrote could not be read"):
                    fields = await self._redis.hgetall(keys.known(mark))
                person = _with_known(person, {text(name): text(value) for name, value in fields.items()})
        return person

    async def erase(self, person: Person) -> int:
        """Remove them; who was linked with nobody else is linked no more."""
        return await self._keyspace.delete(await self._own(person))

    async def holds(self, person: Person) -> int:
        """Count what is left."""
        return await self._keyspace.existing(await self._own(person))

    async def _own(self, person: Person) -> set[str]:
        names = set[str]()
        for mark in person.marks:
            names |= {keys.known(mark) for keys in self._keyspace.shards}
            names |= {self._first.people(f"{kind}:{mark}") for kind in ("person", "conversations")}
            names.add(self._first.state("people", f"tries:{mark}"))
        # The group of linked identities may be left without the keys that lead to it.
        async for page in self._keyspace.pages(self._first, "people", within="members:*"):
            for key in page:
                with bus_errors("linked identities could not be read"):
                    members = {text(member) for member in await self._redis.smembers(key)}
                if members & person.marks:
                    names.add(key)
        async for page in self._keyspace.pages(self._first, "people", within="code:*"):
            for key in page:
                with bus_errors("a code could not be read"):
                    if text(await self._redis.hget(key, "identity")) in person.marks:
                        names.add(key)
        return names


class ExternalKeyStore:
    """Marks of messages that were accepted, where the channel's own id of a message names its sender.

    Other marks hold numbers or digests only, and stay: by them a message that is delivered again is recognised.
    """

    name = "accepted_messages"

    def __init__(self, redis: Redis, *, shards: int, prefixes: Iterable[ExternalKeys]) -> None:
        self._keyspace = Keyspace(redis, shards=shards)
        self._prefixes = list(prefixes)

    async def erase(self, person: Person) -> int:
        """Remove the marks."""
        return await self._keyspace.delete(await self._own(person))

    async def holds(self, person: Person) -> int:
        """Count the marks."""
        return len(await self._own(person))

    async def _own(self, person: Person) -> set[str]:
        beginnings = tuple(prefix for give in self._prefixes for prefix in give(person))
        if not beginnings:
            return set()
        names = set[str]()
        for keys in self._keyspace.shards:
            prefix = keys.prefix("seen")
            async for page in self._keyspace.pages(keys, "seen"):
                names |= {key for key in page if key.removeprefix(prefix).startswith(beginnings)}
        return names


class CacheStore:
    """Kept answers that a person's questions have made."""

    name = "answer_cache"

    def __init__(self, redis: Redis) -> None:
        self._keyspace = Keyspace(redis, shards=1)
        self._redis = self._keyspace.redis
        self._keys = self._keyspace.shards[0]

    async def erase(self, person: Person) -> int:
        """Remove the answers."""
        removed = 0
        for mark in sorted(person.marks):
            owner = self._keys.cache_owner("answer", mark)
            with bus_errors("kept answers could not be removed"):
                answers = await self._redis.zrange(owner, 0, -1)
                removed += await self._keyspace.delete({text(answer) for answer in answers} | {owner})
                if answers:
                    await self._redis.zrem(self._keys.cache_index("answer"), *answers)
        return removed

    async def holds(self, person: Person) -> int:
        """Count what is left."""
        return await self._keyspace.existing(
            {self._keys.cache_owner("answer", mark) for mark in person.marks}
        )


class RequestStore:
    """What API keys asked under a name of their own, and for which session."""

    name = "named_requests"

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self._keyspace = Keyspace(redis, shards=shards)
        self._redis = self._keyspace.redis

    async def widen(self, person: Person) -> Person:
        """Learn the conversations of sessions, which are named by them."""
        return api_conversations(person)

    async def erase(self, person: Person) -> int:
        """Remove the notes, and the marks of their messages."""
        return await self._keyspace.delete(await self._own(person))

    async def holds(self, person: Person) -> int:
        """Count what is left."""
        return await self._keyspace.existing(await self._own(person))

    async def _own(self, person: Person) -> set[str]:
        names = set[str]()
        sessions = {(one.account, one.person.removeprefix(f"{one.account}:")) for one in person.on("api")}
        if not sessions:
            return names
        first = self._keyspace.shards[0]
        async for page in self._keyspace.pages(first, "state", within="api:*"):
            for key in page:
                with bus_errors("a note could not be read"):
                    note = _note(await self._redis.get(key))
                if (note.get("key"), note.get("session_id")) in sessions:
                    names.add(key)
                    name = f"api:{note['key']}:{note.get('name')}"
                    names |= {keys.seen(name) for keys in self._keyspace.shards}
        return names


def api_conversations(person: Person) -> Person:
    """Add the sessions of API keys, whose conversations are named by them."""
    return person.with_more(
        conversations={
            conversation_id("api", one.account, one.person.removeprefix(f"{one.account}:"))
            for one in person.on("api")
        }
    )


def _note(record: bytes | None) -> dict[str, Any]:
    try:
        note = orjson.loads(record or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return note if isinstance(note, dict) else {}


def _with_known(person: Person, fields: dict[str, str]) -> Person:
    places = {name.removeprefix("in:"): kind for name, kind in fields.items() if name.startswith("in:")}
    principals = set[Principal]()
    if "as" in fields:
        principals.add(Principal.model_validate_json(fields["as"]))
    return person.with_more(
        principals=principals,
        conversations={name for name, kind in places.items() if kind == "private"},
        groups={name for name, kind in places.items() if kind == "group"},
    )
