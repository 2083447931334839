"""What is remembered of one person, told to an operator, and single facts of it forgotten or put right."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import WatchError
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hub.admin.people import Individual, Place
from hub.archive.tables import ArchivedFactRow
from hub.bus.connection import bus_errors
from hub.bus.history import VERSION, History
from hub.bus.keys import Keys, shard_of
from hub.database import database_errors
from hub.errors import ChangedMeanwhile
from hub.facts import Fact
from hub.messages import Turn, utc_now

MOST_TRIES = 20
MOST_TURNS = 100_000

Restate = Callable[[str, str, str], str]
"""Say a fact with what an operator says in its place: kind, sentence so far, what they say; empty where that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where a fact of somebody is kept."""

    conversation: str
    owner: str
    """The person in a group; empty in a private conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFact:
    """A fact as the person would see it: of several of one kind the one told last."""

    id: str
    key: str
    fact: Fact
    held_in: Sequence[Where]
    """Every place with a fact of this kind, the one that holds last."""

    @property
    def where(self) -> Where:
        """The place of the one that holds."""
        return self.held_in[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationRecord:
    """A conversation somebody takes part in."""

    id: str
    kind: Place
    turns: int
    """Their own that the window holds."""
    last_turn: datetime | None
    style: dict[str, str]
    """How they write and want to be answered, as the engine counts it."""
    preferences: dict[str, str]


class Remembered:
    """Reads and changes what is remembered of people.

    Args:
        database: of the archive, whose facts come back when Redis has lost a conversation.
        restate: puts what an operator says into the form of a fact.
    """

    def __init__(self, redis: Redis, database: AsyncEngine, restate: Restate, *, shards: int) -> None:
        self._redis: Any = redis
        self._history = History(redis, shards=shards)
        self._database = database
        self._restate = restate
        self._shards = shards

    async def conversations(self, who: Individual) -> list[ConversationRecord]:
        """List the conversations somebody takes part in.

        Raises: BusError: Redis is away.
        """
        found = []
        for where, kind in _places(who):
            turns = await self._history.turns(where.conversation, MOST_TURNS)
            own = [turn for turn in turns if _is_by(turn, where.owner)]
            preferences = await self._history.preferences(where.conversation) if kind == "private" else {}
            found.append(
                ConversationRecord(
                    id=where.conversation,
                    kind=kind,
                    turns=len(own),
                    last_turn=max((turn.asked_at for turn in own), default=None),
                    style=await self._history.style(where.conversation, where.owner),
                    preferences=preferences,
                )
            )
        return found

    async def facts(self, who: Individual) -> list[KnownFact]:
        """List the facts about somebody in the order in which they were told.

        What was told in private is known in all private conversations of theirs; what was told in a group, there alone.

        Raises: BusError: Redis is away.
        """
        told: dict[tuple[str, str], list[tuple[Fact, Where]]] = {}
        for where, _ in _places(who):
            proven = await self._history.proven_facts(where.conversation, where.owner)
            scope = where.conversation if where.owner else ""
            for key, fact in proven.items():
                told.setdefault((scope, key), []).append((fact, where))
        found = []
        for (scope, key), places in told.items():
            places.sort(key=lambda pair: pair[0].age_key)
            fact = places[-1][0]
            number = hashlib.blake2b(f"{scope}\x1f{key}".encode(), digest_size=8).hexdigest()
            found.append(KnownFact(id=number, key=key, fact=fact, held_in=[where for _, where in places]))
        return sorted(found, key=lambda one: (one.fact.age_key, one.key, one.id))

    async def forget(self, who: Individual, fact_id: str) -> bool:
        """Forget a fact wherever it holds, with what it had replaced; False where there is none of the id.

        Raises: BusError, DatabaseError: not everything could be written; repeating is safe.
        """
        known = await self._fact(who, fact_id)
        if known is None:
            return False
        # The archive first: while Redis has it, an operator can see that it is still there.
        places = (
            known.held_in
            if known.where.owner
            else [where for where, kind in _places(who) if kind == "private"]
        )
        async with self._writing() as connection:
            for where in places:
                await connection.execute(delete(ArchivedFactRow).where(*_rows_of(where, known.key)))
        for where in known.held_in:
            await self._change(where, known.key, lambda _: None)
        return True

    async def correct(
        self, who: Individual, fact_id: str, said: str, *, wanted: str = ""
    ) -> KnownFact | None:
        """Put what an operator says in the place of a fact; None where there is none of the id.

        Args:
            wanted: version that the fact must still have; empty: any.

        Raises:
            ChangedMeanwhile: it has another one.
            ValueError: what they say is no fact of this kind.
            BusError, DatabaseError: it could not be written; repeating is safe.
        """
        known = await self._fact(who, fact_id)
        if known is None:
            return None
        text = self._restate(known.key, known.fact.text, said)
        if not text:
            raise ValueError("this is no fact of the kind")

        def corrected(older: Fact) -> Fact:
            if wanted not in ("", older.version):
                raise ChangedMeanwhile
            fact = Fact(text=text, told_at=utc_now(), audience=older.audience, found_by="operator")
            return fact.after(older)

        if not await self._change(known.where, known.key, corrected):
            return None
        async with self._writing() as connection:
            rows = _rows_of(known.where, known.key)
            latest = select(ArchivedFactRow.id).where(*rows).order_by(ArchivedFactRow.place.desc()).limit(1)
            values = {"text": text, "quote": "", "found_by": "operator"}
            await connection.execute(
                update(ArchivedFactRow)
                .where(ArchivedFactRow.id.in_(latest.scalar_subquery()))
                .values(**values)
            )
        return await self._fact(who, fact_id)

    async def _fact(self, who: Individual, fact_id: str) -> KnownFact | None:
        return next((one for one in await self.facts(who) if one.id == fact_id), None)

    async def _change(self, where: Where, key: str, change: Callable[[Fact], Fact | None]) -> bool:
        """Change a fact that is there, against whoever else works on the conversation; False where it is not."""
        names = Keys(shard_of(where.conversation, self._shards))
        place = names.facts(where.conversation, where.owner)
        with bus_errors("a fact could not be changed"):
            for _ in range(MOST_TRIES):
                async with self._redis.pipeline(transaction=True) as pipe:
                    await pipe.watch(place)
                    proven = await self._history.proven_facts(where.conversation, where.owner)
                    if key not in proven:
                        return False
                    fact = change(proven[key])
                    pipe.multi()
                    if fact is None:
                        pipe.hdel(place, key)
                    else:
                        pipe.hset(place, key, fact.to_field())
                    # Whoever holds the facts in their process reads them again.
                    pipe.hset(names.version(where.conversation), VERSION, secrets.token_hex(8))
                    try:
                        await pipe.execute()
                    except WatchError:
                        continue
                    return True
        return False

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        engine = self._database.execution_options(immediate=True)
        async with database_errors("the archive could not change facts"), engine.begin() as connection:
            yield connection


def _places(who: Individual) -> list[tuple[Where, Place]]:
    """Return where something of somebody may be kept."""
    found: dict[Where, Place] = {}
    for one in who.identities:
        for name, kind in sorted(one.places.items()):
            owner = one.principal.person if kind == "group" else ""
            found[Where(conversation=name, owner=owner)] = kind
    return list(found.items())


def _is_by(turn: Turn, owner: str) -> bool:
    return not owner or (turn.address is not None and turn.address.person == owner)


def _rows_of(where: Where, key: str) -> tuple[Any, ...]:
    return (
        ArchivedFactRow.conversation == where.conversation,
        ArchivedFactRow.owner == where.owner,
        ArchivedFactRow.key == key,
    )
