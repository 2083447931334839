"""Following streams as they grow, without a group: every process that tails one sees all of it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis

from hub.bus.connection import BLOCK_S, bus_errors
from hub.bus.nodes import groups_of
from hub.errors import BusError

log = structlog.get_logger(__name__)

PAUSE_S = 0.5
"""After Redis was away."""
LINGER_S = 10.0
"""So long at most whoever waits when all is stopped may still be told: requests of the API end within that time."""
LOOK_S = 0.02
BATCH = 500
"""Entries of one stream that are read at once."""

Handle = Callable[[dict[bytes, bytes]], None]


class Tail:
    """Reads what is added to some streams; on a Cluster those of each slot over a connection of their own.

    Args:
        redis: for short commands.
        reader: a client of its own, closed at the end of `run`.
        streams: keys.
        name: what they are, for the log: `events`.
        from_start: begin with what is there already, not with what comes next.
        gather_s: how long entries may wait for others, so that a busy stream wakes the process seldom.
    """

    def __init__(
        self,
        redis: Redis,
        reader: Redis,
        streams: Sequence[str],
        *,
        name: str,
        from_start: bool = False,
        gather_s: float = 0.0,
    ) -> None:
        self._redis: Any = redis
        self._reader: Any = reader
        self._streams = streams
        self._name = name
        self._from_start = from_start
        self._gather_s = gather_s
        self._beginning = 0
        self.positions: dict[str, str] = {}
        """The last entry of each stream that was handled."""
        self.ready = asyncio.Event()
        """Set once `run` receives; what happens before is not heard."""

    async def run(
        self, handle: Handle, stop: asyncio.Event, *, is_used: Callable[[], bool] = lambda: False
    ) -> None:
        """Call `handle` with the fields of every entry until `stop` is set.

        Args:
            is_used: whether somebody waits for what comes; as long as that is so it goes on for up to LINGER_S.
        """
        groups = groups_of(self._reader, self._streams)
        self._beginning = len(groups)
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.TaskGroup() as tasks:
                following = [tasks.create_task(self._follow(streams, handle)) for streams in groups]
                await stop.wait()
                deadline = clock() + LINGER_S
                while is_used() and clock() < deadline:  # noqa: ASYNC110 - who uses it says so to nobody
                    await asyncio.sleep(LOOK_S)
                # Nothing is lost with a read that is given up: it is of no group.
                for task in following:
                    task.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            await self._reader.aclose()

    async def _follow(self, streams: Sequence[str], handle: Handle) -> None:
        last: dict[str, bytes | str] = {}
        while True:
            try:
                if not last:
                    last = await self._beginnings(streams)
                    self.positions |= {stream: _text(entry) for stream, entry in last.items()}
                    self._beginning -= 1
                    if not self._beginning:
                        self.ready.set()
                with bus_errors(f"{self._name} could not be read"):
                    answer = await self._reader.xread(last, count=BATCH, block=int(BLOCK_S * 1000))
            except BusError as error:
                log.warning("tail_interrupted", streams=self._name, error=str(error))
                await asyncio.sleep(PAUSE_S)
                continue
            for stream, entries in answer or []:
                for entry, fields in entries:
                    last[stream.decode()] = entry
                    handle(fields)
                    self.positions[stream.decode()] = entry.decode()
            if self._gather_s and answer and all(len(entries) < BATCH for _, entries in answer):
                await asyncio.sleep(self._gather_s)

    async def _beginnings(self, streams: Sequence[str]) -> dict[str, bytes | str]:
        if self._from_start:
            return dict.fromkeys(streams, "0-0")
        ends: dict[str, bytes | str] = {}
        with bus_errors(f"{self._name} could not be read"):
            for stream in streams:
                newest = await self._redis.xrevrange(stream, count=1)
                ends[stream] = newest[0][0] if newest else "0-0"
        return ends


def _text(entry: bytes | str) -> str:
    return entry.decode() if isinstance(entry, bytes) else entry
