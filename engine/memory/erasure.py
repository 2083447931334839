"""Erasing a member of a group from what was made of everybody's words: its summary, and the receipts of others' answers.

The lines of a summary are signed by nobody: they are known by the turns they came from.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import redis.exceptions
from pydantic import ValidationError
from redis.asyncio import Redis

from engine.memory.summary import Summary, entry_of
from engine.receipts import AnswerReceipt
from hub.bus.connection import bus_errors
from hub.bus.history import History
from hub.bus.keys import Keys, shard_of
from hub.erasure.person import Person
from hub.messages import Turn

_KEPT_TURNS = 10_000
_ARCHIVED_TURNS = 2_000
"""More than a summary can hold a line of."""

ArchivedTurns = Callable[[str, int], Awaitable[list[Turn]]]
"""Gives the latest turns of a conversation, as many as wanted, also those that Redis has no more."""


class SummaryStore:
    """The summaries of groups; those of a person's own conversations go as a whole with their memory.

    A line goes where it is not known to be another's: it may be left of a turn that nothing holds any more.
    """

    name = "group_summaries"

    def __init__(self, redis: Redis, *, shards: int, archived: ArchivedTurns) -> None:
        self._redis: Any = redis
        self._history = History(redis, shards=shards)
        self._shards = shards
        self._archived = archived

    async def widen(self, person: Person) -> Person:
        """Learn the lines that were made of what they wrote, while the turns are there."""
        lines = set[str]()
        for group in person.groups:
            summary = await self._summary(group)
            if held := {*summary.entries, summary.first} - {""}:
                turns = await self._turns(group)
                others = {entry_of(turn) for turn in turns if turn.who not in person.marks}
                lines |= held - others
                lines |= {entry_of(turn) for turn in turns if turn.who in person.marks} - others
        return person.with_more(lines=lines - {""})

    async def erase(self, person: Person) -> int:
        """Take the lines out; those of the others stay as they are."""
        removed = 0
        for group in sorted(person.groups):
            removed += await self._take_out(group, person)
            removed += await self._shorten_receipts(group, person)
        return removed

    async def holds(self, person: Person) -> int:
        """Count the lines, and the receipts that hold some."""
        found = 0
        for group in sorted(person.groups):
            found += _theirs(await self._summary(group), person)
            rows = await self._receipts(group)
            found += sum(_shows(receipt, person) for receipt, _ in rows)
        return found

    async def _turns(self, group: str) -> list[Turn]:
        return [
            *await self._archived(group, _ARCHIVED_TURNS),
            *await self._history.turns(group, _KEPT_TURNS),
        ]

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

    async def _receipts(self, group: str) -> list[tuple[AnswerReceipt, bytes]]:
        with bus_errors("the receipts could not be read"):
            rows = await self._redis.lrange(Keys(shard_of(group, self._shards)).receipts(group), 0, -1)
        return [(receipt, row) for row in rows if (receipt := _read(row))]

    async def _shorten_receipts(self, group: str, person: Person) -> int:
        """Leave out what the model was asked for others, where it was shown lines of the person."""
        key = Keys(shard_of(group, self._shards)).receipts(group)
        shortened = 0
        for receipt, row in await self._receipts(group):
            if _shows(receipt, person):
                short = receipt.short().model_dump_json().encode("utf-8", "replace")
                with bus_errors("a receipt could not be shortened"):
                    # Put before the row, which goes then: at any end in between the next pass goes on.
                    await self._redis.linsert(key, "BEFORE", row, short)
                    shortened += await self._redis.lrem(key, 1, row)
        return shortened


def _read(row: bytes) -> AnswerReceipt | None:
    try:
        return AnswerReceipt.model_validate_json(row)
    except ValidationError:
        return None


def _shows(receipt: AnswerReceipt, person: Person) -> bool:
    """Tell whether an answer's receipt holds lines of the person among what the model was given."""
    given: Iterable[str] = (
        line for asked in receipt.asked if asked.inputs for line in asked.inputs.summary or ()
    )
    return any(line in person.lines for line in given)


def _theirs(summary: Summary, person: Person) -> int:
    return sum(line in person.lines for line in (*summary.entries, summary.first))
