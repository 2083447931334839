"""What is asked with each key: counted from the events streams into the database, and told by day and model.

Counts and how far the counting has come are written in one transaction: a kill at any point repeats or loses nothing,
and where several processes count, an event is counted by one of them.
"""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hub.bus.connection import BLOCK_S
from hub.bus.entries import entry_time
from hub.bus.keys import Keys
from hub.bus.nodes import read_on
from hub.database import DatabaseError, database_errors
from hub.events import TurnEvent, parse_event
from hub.key_tables import KeyUsagePositionRow, KeyUsageRow
from hub.projecting import START, PositionMoved, keep_up, move_on

BATCH = 500
"""Events of one transaction."""
_KEY_ID = re.compile(r"[0-9a-f]{12}", re.ASCII)
_Fields = dict[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsage:
    """What was asked with a key on one day of one model."""

    day: date
    model: str
    """Empty where no model was asked."""
    requests: int
    """Messages that were answered or explained, or cancelled once they were accepted."""
    prompt_tokens: int
    answer_tokens: int


class UsageCounter:
    """Keeps the counts up to date; any number of processes may run one.

    Args:
        reader: a client of its own, closed at the end of `run`.
        engine: the database, with its tables up to date.
    """

    def __init__(self, reader: Redis, engine: AsyncEngine, *, shards: int = 1) -> None:
        self._reader: Any = reader
        self._engine = engine.execution_options(immediate=True)
        self._streams = [Keys(shard).events for shard in range(shards)]
        self._stored: dict[str, str] = {}
        """How far each stream is counted, as the database has it."""
        self._read: dict[str, str] = {}
        """How far it is read: behind what is stored there is nothing to count."""

    async def run(self, stop: asyncio.Event) -> None:
        """Count until `stop` is set."""
        try:
            await keep_up(
                lambda: self._step(block_s=BLOCK_S), self._stored.clear, stop, batch=BATCH, name="key_usage"
            )
        finally:
            await self._reader.aclose()

    async def catch_up(self) -> None:
        """Count all that lies on the streams now.

        Raises: BusError, DatabaseError: what was counted until then stays.
        """
        while True:
            self._stored.clear()
            with contextlib.suppress(PositionMoved):
                while await self._step():
                    pass
                return

    async def _step(self, *, block_s: float = 0) -> int:
        """Count what comes next; returns how many entries there were.

        Raises: PositionMoved: another process was first.
        """
        if not self._stored:
            self._stored.update(await self._positions())
            self._read = dict(self._stored)
        entries = 0
        for name, raw in await read_on(self._reader, self._read, count=BATCH, block_s=block_s):
            # A reader is woken without an entry where a stream is written anew whose last ones were erased.
            if raw:
                entries += len(raw)
                await self._count(name.decode(), raw[-1][0].decode(), _tally(raw))
        return entries

    async def _count(self, stream: str, last: str, tally: "Mapping[_Cell, Counter[str]]") -> None:
        if tally:
            async with self._transaction() as connection:
                await move_on(connection, KeyUsagePositionRow, stream, self._stored[stream], last)
                for cell, counts in tally.items():
                    await _add(connection, cell, counts)
            self._stored[stream] = last
        self._read[stream] = last

    async def _positions(self) -> dict[str, str]:
        row = KeyUsagePositionRow
        async with database_errors("the usage of keys could not be read"), self._engine.connect() as reading:
            known: dict[str, str] = {
                one.stream: one.position for one in await reading.execute(select(row.stream, row.position))
            }
        for stream in self._streams:
            if stream not in known:
                await self._begin(stream)
                return await self._positions()
        return {stream: known[stream] for stream in self._streams}

    async def _begin(self, stream: str) -> None:
        try:
            async with self._transaction() as connection:
                await connection.execute(insert(KeyUsagePositionRow).values(stream=stream, position=START))
        except DatabaseError as error:
            # Another process has begun at the same time.
            if not isinstance(error.__cause__, IntegrityError):
                raise

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        async with (
            database_errors("the usage of keys could not be written"),
            self._engine.begin() as connection,
        ):
            yield connection


class UsageBook:
    """Tells what was asked with keys."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def of(self, key_id: str, first: date, last: date) -> list[KeyUsage]:
        """Return what was asked with a key on some days, by day and model.

        Raises: DatabaseError: it could not be read.
        """
        row = KeyUsageRow
        query = (
            select(row)
            .where(row.key_id == key_id, row.day >= first.isoformat(), row.day <= last.isoformat())
            .order_by(row.day, row.model)
        )
        async with database_errors("the usage of keys could not be read"), self._engine.connect() as reading:
            found = await reading.execute(query)
            return [
                KeyUsage(
                    day=date.fromisoformat(one.day),
                    model=one.model,
                    requests=one.requests,
                    prompt_tokens=one.prompt_tokens,
                    answer_tokens=one.answer_tokens,
                )
                for one in found
            ]


_COUNTED = ("requests", "prompt_tokens", "answer_tokens")
# Made once, as every message needs it.
_ADD_TO = (
    update(KeyUsageRow)
    .where(*(getattr(KeyUsageRow, name) == bindparam(f"of_{name}") for name in ("key_id", "day", "model")))
    .values({name: getattr(KeyUsageRow, name) + bindparam(f"of_{name}") for name in _COUNTED})
)


@dataclass(frozen=True, slots=True)
class _Cell:
    key_id: str
    day: str
    model: str


def _tally(raw: Sequence[tuple[bytes, _Fields]]) -> dict[_Cell, Counter[str]]:
    """Add up what some entries of a stream say of keys."""
    tally: dict[_Cell, Counter[str]] = {}
    for entry, fields in raw:
        event = parse_event(fields)
        if isinstance(event, TurnEvent) and event.connector == "api" and _KEY_ID.fullmatch(event.account):
            # The day on which it ended, by Redis' clock: no other is the same for every process.
            at = entry_time(entry.decode())
            counts = tally.setdefault(_Cell(event.account, at.date().isoformat(), event.model), Counter())
            counts.update(requests=1, prompt_tokens=event.prompt_tokens, answer_tokens=event.answer_tokens)
    return tally


async def _add(connection: AsyncConnection, cell: _Cell, counts: Counter[str]) -> None:
    place = {"key_id": cell.key_id, "day": cell.day, "model": cell.model}
    more = {name: counts[name] for name in _COUNTED}
    changed = await connection.execute(
        _ADD_TO, {f"of_{name}": value for name, value in (place | more).items()}
    )
    if not changed.rowcount:
        await connection.execute(insert(KeyUsageRow), place | more)
