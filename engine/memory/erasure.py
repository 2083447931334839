"""Erasing a member of a group from its summary, whose lines nobody signs: they are known by the turns they came from."""

from typing import Any

import redis.exceptions
from redis.asyncio import Redis

from engine.memory.summary import Summary, entry_of
from hub.bus.connection import bus_errors
from hub.bus.history import History
from hub.bus.keys import Keys, shard_of
from hub.erasure.person import Person

_KEPT_TURNS = 10_000


class SummaryStore:
    """The summaries of groups; those of a person's own conversations go as a whole with their memory."""

    name = "group_summaries"

    def __init__(self, redis: Redis, *, shards: int) -> None:
        self._redis: Any = redis
        self._history = History(redis, shards=shards)
        self._shards = shards

    async def widen(self, person: Person) -> Person:
        """Learn the lines that were made of what they wrote."""
        lines = set[str]()
        for group in person.groups:
            turns = await self._history.turns(group, _KEPT_TURNS)
            lines |= {entry_of(turn) for turn in turns if turn.who in person.marks}
        return person.with_more(lines=lines - {""})

    async def erase(self, person: Person) -> int:
        """Take the lines out; those of the others stay as they are."""
        removed = 0
        for group in sorted(person.groups):
            removed += await self._take_out(group, person)
        return removed

    async def holds(self, person: Person) -> int:
        """Count the lines."""
        return sum([_theirs(await self._summary(group), person) for group in sorted(person.groups)])

    async def _summary(self, group: str) -> Summary:
        return Summary.from_fields(await self._history.summary(group))

    async def _take_out(self, group: str, person: Person) -> int:
        key = Keys(shard_of(group, self._shards)).summary(group)
        with bus_errors("a summary could not be changed"):
            async with self._redis.pipeline(transaction=True) as pipe:
                await pipe.watch(key)
                summary = await self._summary(group)
                if not (number := _theirs(summary, person)):
                    return 0
                kept = tuple(line for line in summary.entries if line not in person.lines)
                fields = Summary(
                    entries=kept,
                    count=max(len(kept), summary.count - len(summary.entries) + len(kept)),
                    first="" if summary.first in person.lines else summary.first,
                    upto=summary.upto,
                ).fields()
                pipe.multi()
                pipe.hset(key, mapping=fields)
                try:
                    await pipe.execute()
                except redis.exceptions.WatchError:
                    # A turn of the group was committed meanwhile; the next pass looks again.
                    return 0
        return number


def _theirs(summary: Summary, person: Person) -> int:
    return sum(line in person.lines for line in (*summary.entries, summary.first))
