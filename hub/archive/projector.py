"""Writes the archive: reads the events streams from where it stopped, and the texts from the histories.

What was read and how far the reading has come are written in one transaction, so that a kill at any point repeats or
loses nothing; and where two processes read the same stream, the second finds its beginning moved and begins again.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hub.archive.archive import Archive
from hub.archive.rows import Projection
from hub.archive.tables import ERASURES, ArchivePositionRow
from hub.bus.connection import BLOCK_S, bus_errors
from hub.bus.entries import entry_order
from hub.bus.history import History
from hub.bus.keys import Keys
from hub.bus.nodes import read_on
from hub.database import DatabaseError, database_errors
from hub.events import AnyEvent, TurnEvent, parse_event
from hub.messages import Turn, utc_now
from hub.projecting import START, PositionMoved, keep_up, move_on

log = structlog.get_logger(__name__)

BATCH = 200
"""Events of one transaction."""
EXPIRE_EVERY_S = 3600.0
_FEW = 8
"""Turns of a conversation that are read first: what has just been answered is among its latest."""
_ALL = 1_000_000

Entries = Sequence[tuple[str, AnyEvent]]


class Projector:
    """Keeps the archive up to date; any number of processes may run one.

    Args:
        redis: for short commands.
        reader: a client of its own, closed at the end of `run`.
        history: where the texts are.
        engine: the database, with its tables up to date.
        keep_days: how long turns stay; 0: until they are forgotten.
    """

    def __init__(
        self,
        redis: Redis,
        reader: Redis,
        history: History,
        engine: AsyncEngine,
        *,
        shards: int = 1,
        keep_days: int = 0,
    ) -> None:
        self._redis: Any = redis
        self._reader: Any = reader
        self._history = history
        self._engine = engine.execution_options(immediate=True)
        self._archive = Archive(engine)
        self._keep_days = keep_days
        self._streams = [Keys(shard).events for shard in range(shards)]
        self._expire_at = 0.0
        self._erasures = ""
        """How many there had been when the positions were read."""

    async def run(self, stop: asyncio.Event) -> None:
        """Project until `stop` is set."""
        positions: dict[str, str] = {}

        async def step() -> int:
            if not positions:
                positions.update(await self._positions())
            events = await self._step(positions, block_s=BLOCK_S)
            await self._expire()
            return events

        try:
            await keep_up(step, positions.clear, stop, batch=BATCH, name="archive")
        finally:
            await self._reader.aclose()

    async def positions(self) -> dict[str, str]:
        """Tell the last event of each stream that is archived, by whichever process.

        Raises: DatabaseError: they cannot be read.
        """
        async with database_errors("the archive could not be read"), self._engine.connect() as connection:
            rows = await connection.execute(select(ArchivePositionRow.stream, ArchivePositionRow.position))
            return {row.stream: row.position for row in rows if row.stream != ERASURES}

    async def catch_up(self) -> None:
        """Project all that lies on the streams now.

        Raises: BusError, DatabaseError: what was projected until then stays.
        """
        while True:
            positions = await self._positions()
            with contextlib.suppress(PositionMoved):
                while await self._step(positions):
                    pass
                return

    async def rebuild(self) -> int:
        """Read everything again that Redis still holds: the histories with their facts, then all events.

        What the archive has and Redis has not stays as it is.

        Returns: turns read from the histories.
        Raises: BusError, DatabaseError: repeating is safe.
        """
        count = 0
        async for conversation in self._history.conversations():
            count += await self._restore(conversation)
        async with self._transaction() as connection:
            again = update(ArchivePositionRow).where(ArchivePositionRow.stream != ERASURES)
            await connection.execute(again.values(position=START))
        return count

    async def _restore(self, conversation: str) -> int:
        while True:
            async with database_errors("the archive could not be read"), self._engine.connect() as reading:
                erasures = await _erasures(reading)
            kept = await self._history.turns(conversation, last=_ALL)
            turns = await self._still_told(conversation, [turn for turn in kept if turn.address])
            async with self._transaction() as connection:
                # The projecting process waits: both look whether a turn is there before they write it.
                rows = select(ArchivePositionRow).order_by(ArchivePositionRow.stream)
                await connection.execute(rows.with_for_update())
                if await _erasures(connection) == erasures:
                    await Projection(connection).restore(conversation, turns)
                    return len(turns)

    async def _step(self, positions: dict[str, str], *, block_s: float = 0) -> int:
        """Project what comes next on the streams, and move the positions on; returns how many entries there were.

        Raises: PositionMoved: another process has moved them.
        """
        answers = await read_on(self._reader, positions, count=BATCH, block_s=block_s)
        # A reader is woken without an entry where a stream is written anew whose last ones were erased.
        found = [(stream, raw) for stream, raw in answers if raw]
        for stream, raw in found:
            name, last = stream.decode(), raw[-1][0].decode()
            read = [(entry.decode(), parse_event(fields)) for entry, fields in raw]
            events = [(entry, event) for entry, event in read if event is not None]
            await self._project(name, positions[name], last, events)
            positions[name] = last
        return sum(len(raw) for _, raw in found)

    async def _project(self, stream: str, since: str, last: str, entries: Entries) -> None:
        texts = await self._texts([event for _, event in entries if isinstance(event, TurnEvent)])
        async with self._transaction() as connection:
            if await _erasures(connection) != self._erasures:
                # Somebody was erased since these texts were read: what is left of them is read again.
                raise PositionMoved
            await move_on(connection, ArchivePositionRow, stream, since, last)
            projection = Projection(connection)
            for entry, event in entries:
                await projection.apply(entry, event, texts)

    async def _texts(self, events: Sequence[TurnEvent]) -> Mapping[tuple[str, str], Turn]:
        """Read the turns of some events from the histories; those that are forgotten or too old are missing."""
        wanted: dict[str, set[str]] = {}
        for event in events:
            if event.conversation and not event.is_passing and event.kind_of_answer != "cancelled":
                wanted.setdefault(event.conversation, set()).add(event.turn)
        found: dict[tuple[str, str], Turn] = {}
        for conversation, turns in wanted.items():
            few = len(turns) + _FEW
            rows = await self._history.turns(conversation, last=few)
            if len(rows) == few and not turns <= {row.turn for row in rows}:
                rows = await self._history.turns(conversation, last=_ALL)
            told = await self._still_told(conversation, [row for row in rows if row.turn in turns])
            found |= {(conversation, row.turn): row for row in told}
        return found

    async def _still_told(self, conversation: str, turns: Sequence[Turn]) -> list[Turn]:
        """Return turns without the facts that are remembered no more.

        A turn still holds what it told after a later one, perhaps on another channel, has had it forgotten; read again
        it would bring it back.
        """
        kept: dict[str, Collection[str]] = {}
        found = []
        for turn in turns:
            if turn.facts and turn.address is not None:
                owner = turn.address.person if turn.address.is_group else ""
                if owner not in kept:
                    kept[owner] = await self._history.facts(conversation, owner)
                facts = tuple(fact for fact in turn.facts if not fact.text or fact.key in kept[owner])
                turn = turn.model_copy(update={"facts": facts})  # noqa: PLW2901 - the same turn
            found.append(turn)
        return found

    async def _positions(self) -> dict[str, str]:
        """Return where to go on in each stream; the first time, the histories are read as well."""
        async with database_errors("the archive could not be read"), self._engine.connect() as connection:
            rows = await connection.execute(select(ArchivePositionRow.stream, ArchivePositionRow.position))
            known: dict[str, str] = {row.stream: row.position for row in rows}
        if missing := [stream for stream in (*self._streams, ERASURES) if stream not in known]:
            await self._begin(missing)
            return await self._positions()
        self._erasures = known[ERASURES]
        for stream in self._streams:
            if entry_order(known[stream]) > entry_order(await self._last(stream)):
                # Redis was emptied or put back to an older state: nothing would be read until it has caught up.
                log.warning("archive_position_reset", stream=stream, position=known[stream])
                async with self._transaction() as connection:
                    await connection.execute(
                        update(ArchivePositionRow)
                        .where(ArchivePositionRow.stream == stream)
                        .values(position=START)
                    )
                known[stream] = START
        return {stream: known[stream] for stream in self._streams}

    async def _begin(self, streams: Sequence[str]) -> None:
        try:
            async with self._transaction() as connection:
                for stream in streams:
                    position = "0" if stream == ERASURES else START
                    await connection.execute(
                        insert(ArchivePositionRow).values(stream=stream, position=position)
                    )
        except DatabaseError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            # Another process has begun at the same time.
            return
        if set(streams) != {ERASURES}:
            log.info("archive_begun", turns=await self.rebuild())

    async def _last(self, stream: str) -> str:
        with bus_errors("the events could not be read"):
            try:
                info = await self._redis.xinfo_stream(stream)
            except ResponseError as error:
                if "no such key" not in str(error):
                    raise
                return START
        last = info["last-generated-id"]
        return last.decode() if isinstance(last, bytes) else str(last)

    async def _expire(self) -> None:
        if self._keep_days and time.monotonic() >= self._expire_at:
            self._expire_at = time.monotonic() + EXPIRE_EVERY_S
            removed = await self._archive.expire(utc_now() - timedelta(days=self._keep_days))
            log.info("archive_shortened", turns=removed)

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        async with database_errors("the archive could not be written"), self._engine.begin() as connection:
            yield connection


async def _erasures(connection: AsyncConnection) -> str:
    """Return how many erasures there were; where the connection writes, none comes in between until it is done."""
    row = ArchivePositionRow
    counted = select(row.position).where(row.stream == ERASURES).with_for_update(read=True)
    return await connection.scalar(counted) or ""
