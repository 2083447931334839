"""Who is known to the hub: identities by the channels they write on, those of one person together, and where they wrote."""

import bisect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import ValidationError
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.erasure.keyspace import PAGE, Keyspace, text
from hub.erasure.person import Principal

MARK = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
"""Form of the name under which somebody is kept, as `hub.people.principal_name` makes it."""

Place = Literal["private", "group"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Somebody as one channel knows them."""

    mark: str
    principal: Principal
    is_verified: bool
    """Whether the channel vouches for it."""
    places: Mapping[str, Place]
    """Conversations they wrote in."""

    @property
    def name(self) -> str:
        """Name them as commands take it."""
        return f"{self.principal.connector}/{self.principal.account}/{self.principal.person}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Individual:
    """One person with the identities they have linked."""

    id: str
    """The first of their marks; any of them finds the person."""
    identities: Sequence[Identity]
    last_seen: datetime | None
    """When they last wrote in private where the channel vouches for them; None where nothing tells."""

    def conversations(self, kind: Place) -> list[str]:
        """Return the conversations of a kind, sorted."""
        found = {name for one in self.identities for name, place in one.places.items() if place == kind}
        return sorted(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleFilter:
    """Which people: those with one identity for which all of it holds; what is empty does not matter."""

    connector: str = ""
    person: str = ""
    """A part of what the channel knows them by, such as a mail address, in whatever case."""

    def holds_for(self, one: Principal) -> bool:
        """Tell whether an identity is one of them."""
        is_there = not self.connector or one.connector == self.connector
        return is_there and self.person.casefold() in one.person.casefold()


EVERYBODY = PeopleFilter()


class _Known(Principal):
    is_verified: bool = False


class PeopleBook:
    """Reads who is known; every method raises BusError where Redis is away."""

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self._keyspace = Keyspace(redis, shards=shards)
        self._redis = self._keyspace.redis
        self._first = self._keyspace.shards[0]

    async def page(self, after: str, limit: int, which: PeopleFilter = EVERYBODY) -> list[Individual]:
        """List people by their ids.

        Args:
            after: id of the last one of the page before; empty: from the beginning.
            which: all others are left out.
        """
        marks = sorted(await self._marks())
        known, found = set(marks), list[Individual]()
        at = bisect.bisect_right(marks, after)
        while at < len(marks) and len(found) < limit:
            part = marks[at : at + PAGE]
            at += len(part)
            linked = {mark: sorted(members & known) for mark, members in (await self._linked(part)).items()}
            # Told once, at the first of the identities.
            people = [own for mark, own in linked.items() if own[0] == mark]
            if which != EVERYBODY:
                people = await self._chosen(people, which)
            for own in people:
                if len(found) < limit and (one := await self._individual(own)):
                    found.append(one)
        return found

    async def find(self, mark: str) -> Individual | None:
        """Return the person whom a mark belongs to; None where nobody is known by it."""
        if not MARK.fullmatch(mark):
            return None
        members = (await self._linked([mark]))[mark]
        found = await self._individual(sorted(members))
        return found if found and mark in {one.mark for one in found.identities} else None

    async def _marks(self) -> set[str]:
        marks = set[str]()
        for keys in self._keyspace.shards:
            prefix = keys.prefix("known")
            async for page in self._keyspace.pages(keys, "known"):
                marks |= {key.removeprefix(prefix) for key in page}
        return marks

    async def _linked(self, marks: Sequence[str]) -> dict[str, set[str]]:
        """Return for each mark those of the same person, itself among them."""
        with bus_errors("linked identities could not be read"):
            pipe = self._redis.pipeline(transaction=False)
            for mark in marks:
                pipe.get(self._first.people(f"person:{mark}"))
            joined = dict(zip(marks, map(text, await pipe.execute()), strict=True))
            groups = sorted(set(filter(None, joined.values())))
            pipe = self._redis.pipeline(transaction=False)
            for group in groups:
                pipe.smembers(self._first.people(f"members:{group}"))
            members = {
                group: {text(one) for one in found}
                for group, found in zip(groups, await pipe.execute(), strict=True)
            }
        return {mark: {mark} | members.get(group, set()) for mark, group in joined.items()}

    async def _chosen(self, people: Sequence[list[str]], which: PeopleFilter) -> list[list[str]]:
        """Return those people, each told by their marks, whom a filter means; asks once for all of them."""
        marks = [mark for own in people for mark in own]
        with bus_errors("identities could not be read"):
            pipe = self._redis.pipeline(transaction=False)
            for mark in marks:
                for keys in self._keyspace.shards:
                    pipe.hget(keys.known(mark), "as")
            told = iter(await pipe.execute())
        meant = set[str]()
        for mark in marks:
            places = [_read(text(next(told))) for _ in self._keyspace.shards]
            if any(known is not None and which.holds_for(known) for known in places):
                meant.add(mark)
        return [own for own in people if not meant.isdisjoint(own)]

    async def _individual(self, marks: Sequence[str]) -> Individual | None:
        """Read a person; None where none of the marks is known any more."""
        identities = [one for mark in marks if (one := await self._identity(mark))]
        if not identities:
            return None
        with bus_errors("a person's conversations could not be read"):
            pipe = self._redis.pipeline(transaction=False)
            for one in identities:
                key = self._first.people(f"conversations:{one.mark}")
                pipe.zrange(key, -1, -1, withscores=True)
            latest = [score for found in await pipe.execute() for _, score in found]
        seen = datetime.fromtimestamp(max(latest), UTC) if latest else None
        return Individual(id=identities[0].mark, identities=identities, last_seen=seen)

    async def _identity(self, mark: str) -> Identity | None:
        fields = dict[str, str]()
        with bus_errors("an identity could not be read"):
            pipe = self._redis.pipeline(transaction=False)
            for keys in self._keyspace.shards:
                pipe.hgetall(keys.known(mark))
            for found in await pipe.execute():
                fields |= {text(name): text(value) for name, value in found.items()}
        if (known := _read(fields.pop("as", ""))) is None:
            return None
        places: dict[str, Place] = {
            name.removeprefix("in:"): "group" if kind == "group" else "private"
            for name, kind in fields.items()
            if name.startswith("in:")
        }
        principal = Principal(connector=known.connector, account=known.account, person=known.person)
        return Identity(mark=mark, principal=principal, is_verified=known.is_verified, places=places)


def _read(told: str) -> _Known | None:
    try:
        return _Known.model_validate_json(told)
    except ValidationError:
        return None
