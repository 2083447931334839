"""The events streams as operators read them: by page from any place on, and what comes next as it comes."""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis.asyncio import Redis

from hub.bus.connection import BLOCK_S, bus_errors, connect_reader
from hub.bus.entries import entry_order, entry_time
from hub.bus.keys import Keys
from hub.bus.nodes import read_on
from hub.events import AnyEvent, parse_event

BATCH = 500
"""Entries of a shard that are read at once."""
MOST_READ = 5_000
"""Entries that are looked at for one page: where few are wanted, a page may be short though others follow."""
_PLACE = re.compile(r"(\d{1,15}-\d{1,19})(?:\.(\d{1,15}-\d{1,19}))*", re.ASCII)
START = "0-0"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedEvents:
    """Which events; every part that is set must hold."""

    kind: str = ""
    """`turn`, `delivery` or `feedback`."""
    connector: str = ""
    conversation: str = ""

    def holds(self, event: AnyEvent) -> bool:
        """Tell whether it is one of them."""
        return (
            self.kind in ("", event.kind)
            and self.connector in ("", event.connector)
            and self.conversation in ("", event.conversation)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One event where it stands."""

    shard: int
    entry: str
    event: AnyEvent

    @property
    def at(self) -> datetime:
        """When it happened."""
        return entry_time(self.entry)


@dataclass(frozen=True, slots=True)
class Position:
    """How far the streams of all shards are read."""

    entries: tuple[str, ...]

    @classmethod
    def start(cls, shards: int) -> "Position":
        """Return that before the first event."""
        return cls((START,) * shards)

    @classmethod
    def of(cls, text: str, shards: int) -> "Position | None":
        """Read what `str` wrote; None where it is of other streams, or none."""
        entries = tuple(text.split("."))
        return cls(entries) if _PLACE.fullmatch(text) and len(entries) == shards else None

    def past(self, shard: int, entry: str) -> "Position":
        """Return that behind an entry."""
        return Position((*self.entries[:shard], entry, *self.entries[shard + 1 :]))

    def __str__(self) -> str:
        return ".".join(self.entries)


class EventBook:
    """Reads the events streams.

    Args:
        redis: for short commands.
        url: of the same Redis: whoever waits for what comes next has a connection of their own.
    """

    def __init__(self, redis: Redis, url: str, *, shards: int) -> None:
        self._redis: Any = redis
        self._url = url
        self._streams = [Keys(shard).events for shard in range(shards)]

    @property
    def shards(self) -> int:
        """How many streams there are."""
        return len(self._streams)

    async def page(
        self, wanted: WantedEvents, after: Position, limit: int
    ) -> tuple[list[StoredEvent], Position, bool]:
        """Return events in the order in which they happened.

        Returns: the events; where the next page begins; whether there are more now.
        Raises: BusError: Redis is away.
        """
        found: list[StoredEvent] = []
        place, read = after, 0
        while read < MOST_READ:
            part = await self._part(place)
            for shard, entry, fields in part:
                if len(found) == limit:
                    return found, place, True
                place, read = place.past(shard, entry), read + 1
                event = parse_event(fields)
                if event is not None and wanted.holds(event):
                    found.append(StoredEvent(shard=shard, entry=entry, event=event))
            if len(part) < BATCH:
                return found, place, False
        return found, place, True

    async def end(self) -> Position:
        """Return the place behind the latest events.

        Raises: BusError: Redis is away.
        """
        entries = []
        with bus_errors("the events could not be read"):
            for stream in self._streams:
                newest = await self._redis.xrevrange(stream, count=1)
                entries.append(newest[0][0].decode() if newest else START)
        return Position(tuple(entries))

    async def follow(
        self, wanted: WantedEvents, after: Position, stop: asyncio.Event
    ) -> AsyncGenerator[tuple[StoredEvent | None, Position], None]:
        """Give what comes behind a place, and go on as it comes, until `stop` is set.

        Gives None in place of an event about once a second while none comes, with the place up to which was read.

        Raises: BusError: Redis is away.
        """
        reader: Any = connect_reader(self._url)
        place = after
        try:
            while not stop.is_set():
                at = dict(zip(self._streams, place.entries, strict=True))
                answer = await read_on(reader, at, count=BATCH, block_s=BLOCK_S)
                for shard, entry, fields in self._in_order(answer):
                    place = place.past(shard, entry)
                    event = parse_event(fields)
                    if event is not None and wanted.holds(event):
                        yield StoredEvent(shard=shard, entry=entry, event=event), place
                yield None, place
        finally:
            await reader.aclose()

    async def _part(self, after: Position) -> Sequence[tuple[int, str, Mapping[bytes, bytes]]]:
        found = []
        with bus_errors("the events could not be read"):
            for stream, entry in zip(self._streams, after.entries, strict=True):
                found.append((stream.encode(), await self._redis.xrange(stream, f"({entry}", count=BATCH)))
        return self._in_order(found)[:BATCH]

    def _in_order(self, answer: Any) -> list[tuple[int, str, Mapping[bytes, bytes]]]:
        """Put what several streams gave into the order in which it happened."""
        found = [
            (self._streams.index(stream.decode()), entry.decode(), fields)
            for stream, entries in answer
            for entry, fields in entries
        ]
        return sorted(found, key=lambda one: (entry_order(one[1]), one[0]))
