"""What is handed out of Redis and the data folder: conversations, facts, settings, links, judgements, what waits."""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.bus.bus import INBOUND
from hub.bus.connection import bus_errors
from hub.bus.keys import Keys, plain
from hub.erasure.keyspace import Keyspace, text
from hub.erasure.person import Person, Principal
from hub.erasure.streams import is_dead_letter_of
from hub.interactions import open_interactions
from hub.key_tables import ApiKeyRow, EarlierSecretRow
from hub.messages import envelope_of


class RowRecords:
    """Rows of conversations' lists, oldest first, each with its conversation; of a group those the person asked.

    Args:
        name: of the file.
        kind: of the keys.
    """

    def __init__(self, redis: Redis, *, shards: int, name: str, kind: str) -> None:
        self.name = name
        self._kind = kind
        self._keyspace = Keyspace(redis, shards=shards)

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give the rows."""
        async for keys, key in _keys_of(self._keyspace, self._kind):
            conversation = key.removeprefix(keys.prefix(self._kind))
            with bus_errors(f"{self.name} could not be read"):
                found = await self._keyspace.redis.lrange(key, 0, -1)
            for row in map(_json, found):
                if not isinstance(row, dict):
                    continue
                is_own = person is None or conversation in person.conversations
                if is_own or (person is not None and row.get("who") in person.marks):
                    yield {"conversation": conversation, **row}


class HashRecords:
    """Hashes of conversations, such as facts: a row for each field.

    Args:
        name: of the file.
        kind: of the keys.
    """

    def __init__(self, redis: Redis, *, shards: int, name: str, kind: str) -> None:
        self.name = name
        self._kind = kind
        self._keyspace = Keyspace(redis, shards=shards)

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give the fields."""
        async for keys, key in _keys_of(self._keyspace, self._kind):
            conversation, _, who = key.removeprefix(keys.prefix(self._kind)).partition(":")
            if not _is_theirs(person, conversation, who):
                continue
            with bus_errors(f"{self.name} could not be read"):
                fields = await self._keyspace.redis.hgetall(key)
            for name, value in sorted(fields.items()):
                row = {"conversation": conversation, "key": text(name), "value": text(value)}
                yield row | ({"person": who} if who else {})


class IdentityRecords:
    """Who somebody is on which channel, with whom they are linked, and where they wrote."""

    name = "identities"

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self._keyspace = Keyspace(redis, shards=shards)

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give the identities."""
        first = self._keyspace.shards[0]
        async for keys, key in _keys_of(self._keyspace, "known"):
            mark = key.removeprefix(keys.prefix("known"))
            if person is not None and mark not in person.marks:
                continue
            with bus_errors("an identity could not be read"):
                fields = await self._keyspace.redis.hgetall(key)
                linked = text(await self._keyspace.redis.get(first.people(f"person:{mark}")))
            if (known := fields.get(b"as")) is None:
                continue
            places = {
                text(name).removeprefix("in:"): text(kind)
                for name, kind in sorted(fields.items())
                if name.startswith(b"in:")
            }
            principal = Principal.model_validate_json(known)
            yield {**principal.model_dump(), "linked_as": linked, "conversations": places}


class JudgementRecords:
    """What people think of answers."""

    name = "judgements"

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self._keyspace = Keyspace(redis, shards=shards)

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give a row for each judgement."""
        theirs = {f"{one.connector}:{one.person}" for one in person.principals} if person else set[str]()
        async for keys, key in _keys_of(self._keyspace, "judgements"):
            turn = key.removeprefix(keys.prefix("judgements"))
            with bus_errors("a judgement could not be read"):
                fields = await self._keyspace.redis.hgetall(key)
            for who, value in sorted(fields.items()):
                if person is None or text(who) in theirs:
                    yield {"turn": turn, "person": text(who), "value": text(value)}


class WaitingRecords:
    """Messages that wait for their answer."""

    name = "waiting"

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self._keyspace = Keyspace(redis, shards=shards)

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give the messages as they came."""
        for keys in self._keyspace.shards:
            async for page in self._keyspace.entries(keys.stream(INBOUND)):
                for entry, fields in page:
                    body, lane = fields.get(b"body", b""), text(fields.get(b"lane"))
                    if person is None or person.owns(lane, envelope_of(body).address):
                        yield {"turn": text(entry), "conversation": lane, "message": _json(body)}


class DeadLetterRecords:
    """Messages and replies that were given up."""

    name = "dead_letters"

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self._keyspace = Keyspace(redis, shards=shards)

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give the entries with the reasons."""
        for keys in self._keyspace.shards:
            async for page in self._keyspace.entries(keys.dead):
                for _, fields in page:
                    if person is None or is_dead_letter_of(person, fields):
                        yield {text(name): _json(value) for name, value in fields.items()}


class InteractionRecords:
    """Lines of `log.jsonl` and of the files it was continued from."""

    name = "log"

    def __init__(self, path: Path) -> None:
        self._path = path

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give the lines."""
        with ExitStack() as opened:
            files = await open_interactions(self._path, opened)
            for line in (line for file in files for line in file):
                said = _json(line)
                if isinstance(said, dict) and (
                    person is None
                    or said.get("conversation") in person.conversations
                    or said.get("who") in person.marks
                ):
                    yield said


class KeyRecords:
    """API keys with the digests by which they are recognised; they are nobody's, and part of everything only."""

    name = "keys"

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give the keys."""
        if person is not None:
            return
        async with self._engine.connect() as connection:
            earlier: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
            for secret in await connection.execute(select(EarlierSecretRow)):
                earlier[secret.key_id].append({"hash": secret.hash, "until": secret.until})
            async for row in await connection.stream(select(ApiKeyRow)):
                yield {**row._mapping, "earlier": earlier[row.id]}


def _is_theirs(person: Person | None, conversation: str, who: str) -> bool:
    if person is None or conversation in person.conversations:
        return True
    mine = {plain(one.person) for one in person.principals if conversation.startswith(f"{one.connector}-")}
    return bool(who) and who in mine


async def _keys_of(keyspace: Keyspace, kind: str) -> AsyncIterator[tuple[Keys, str]]:
    for keys in keyspace.shards:
        async for page in keyspace.pages(keys, kind):
            for key in page:
                yield keys, key


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")
