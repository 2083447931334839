"""Following streams as they grow, without a group: every process that tails one sees all of it."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis

from hub.bus.connection import BLOCK_S, bus_errors
from hub.errors import BusError

log = structlog.get_logger(__name__)

PAUSE_S = 0.5
"""After Redis was away."""


class Tail:
    """Reads what is added to some streams of one slot.

    Args:
        redis: for short commands.
        reader: a client of its own, closed at the end of `run`.
        streams: keys.
        name: what they are, for the log: `events`.
        from_start: begin with what is there already, not with what comes next.
    """

    def __init__(
        self, redis: Redis, reader: Redis, streams: Sequence[str], *, name: str, from_start: bool = False
    ) -> None:
        self._redis: Any = redis
        self._reader: Any = reader
        self._streams = streams
        self._name = name
        self._from_start = from_start
        self.positions: dict[str, str] = {}
        """The last entry of each stream that was handled."""
        self.ready = asyncio.Event()
        """Set once `run` receives; what happens before is not heard."""

    async def run(self, handle: Callable[[dict[bytes, bytes]], None], stop: asyncio.Event) -> None:
        """Call `handle` with the fields of every entry until `stop` is set."""
        last: dict[str, bytes | str] = {}
        try:
            while not stop.is_set():
                try:
                    if not last:
                        last = await self._beginnings()
                        self.positions = {stream: _text(entry) for stream, entry in last.items()}
                        self.ready.set()
                    with bus_errors(f"{self._name} could not be read"):
                        answer = await self._reader.xread(last, count=500, block=int(BLOCK_S * 1000))
                except BusError as error:
                    log.warning("tail_interrupted", streams=self._name, error=str(error))
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(PAUSE_S):
                            await stop.wait()
                    continue
                for stream, entries in answer or []:
                    for entry, fields in entries:
                        last[stream.decode()] = entry
                        handle(fields)
                        self.positions[stream.decode()] = entry.decode()
        finally:
            await self._reader.aclose()

    async def _beginnings(self) -> dict[str, bytes | str]:
        if self._from_start:
            return dict.fromkeys(self._streams, "0-0")
        ends: dict[str, bytes | str] = {}
        with bus_errors(f"{self._name} could not be read"):
            for stream in self._streams:
                newest = await self._redis.xrevrange(stream, count=1)
                ends[stream] = newest[0][0] if newest else "0-0"
        return ends


def _text(entry: bytes | str) -> str:
    return entry.decode() if isinstance(entry, bytes) else entry
