"""How fast turns end, and how long a new one waits by that: measured by each engine, told with its heartbeat."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from redis.asyncio import Redis

from hub.bus.consumer import GiveBack
from hub.bus.heartbeat import BEAT_S, told
from hub.errors import BusError

log = structlog.get_logger(__name__)

T = TypeVar("T")
R = TypeVar("R")

WINDOW_S = 60.0
"""Busy time after which a measurement counts for a third."""
SHORTEST_RETRY_S = 1.0
LONGEST_RETRY_S = 300.0
ROOM = 0.1
"""Part of a full backlog that is to be done before somebody who was refused comes again."""


class Pace(BaseModel):
    """What one engine does, as it was measured lately."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    turns_per_s: float = 0.0
    """Turns that ended in each second in which at least one ran; 0 before the first has ended."""
    turn_s: float = 0.0
    """Mean time from the beginning of a turn to its end."""
    running: int = 0
    slots: int = 1
    """Turns it runs at once."""


class Meter:
    """Measures one engine.

    Args:
        slots: turns that may run at once.
        clock: seconds from any beginning.
    """

    def __init__(self, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = slots
        self._clock = clock
        self._running = 0
        self._at = clock()
        # All three fade alike, so their quotients are means over about WINDOW_S of work.
        self._busy_s = self._work_s = self._ended = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Count one turn while the block runs; one that is given back takes its time, and has not ended."""
        self._advance()
        self._running += 1
        has_ended = 1
        try:
            yield
        except GiveBack:
            has_ended = 0
            raise
        finally:
            self._advance()
            self._running -= 1
            self._ended += has_ended

    def measured(self, work: Callable[[T], Awaitable[R]]) -> Callable[[T], Awaitable[R]]:
        """Return the same work, each run of it counted as a turn."""

        async def run(what: T) -> R:
            with self.turn():
                return await work(what)

        return run

    def news(self) -> str:
        """Return the pace as a heartbeat tells it."""
        return self.pace().model_dump_json()

    def pace(self) -> Pace:
        """Return what was measured until now."""
        self._advance()
        known = self._ended > 0 and self._busy_s > 0
        return Pace(
            turns_per_s=self._ended / self._busy_s if known else 0.0,
            turn_s=self._work_s / self._ended if known else 0.0,
            running=self._running,
            slots=self._slots,
        )

    def _advance(self) -> None:
        now = self._clock()
        if self._running:
            passed_s = now - self._at
            kept = math.exp(-passed_s / WINDOW_S)
            self._busy_s = self._busy_s * kept + passed_s
            self._work_s = self._work_s * kept + passed_s * self._running
            self._ended *= kept
        self._at = now


class PaceBoard:
    """What all engines have told, looked up when it is wanted and at most once in a heartbeat."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        self._paces: Sequence[Pace] = ()
        self._read_at = -math.inf
        self._reading = asyncio.Lock()

    async def paces(self) -> Sequence[Pace]:
        """Return the paces of the engines that run; none where they cannot be read: an estimate is a courtesy."""
        # All of a burst get what is read for its first message.
        async with self._reading:
            if self._clock() - self._read_at >= BEAT_S:
                try:
                    self._paces = [
                        pace for news in await told(self._redis, "engine") if (pace := _pace(news))
                    ]
                except BusError as error:
                    log.warning("pace_not_read", error=str(error))
                self._read_at = self._clock()
        return self._paces


def _pace(news: bytes) -> Pace | None:
    try:
        return Pace.model_validate_json(news)
    except ValidationError:
        return None


def wait_s(paces: Sequence[Pace], *, backlog: int, lane: int) -> float | None:
    """Estimate how long a message waits until it is taken up.

    Args:
        paces: of the engines that run.
        backlog: messages that waited or ran when it came.
        lane: those of its own conversation among them, which are done one after the other.

    Returns: seconds; None while nobody works, or nothing was measured yet.
    """
    rate = sum(pace.turns_per_s for pace in paces)
    if not rate:
        return None
    # With all slots taken one turn has to end for each message that comes first, and one more for this one.
    to_end = max(0, backlog - sum(pace.slots for pace in paces) + 1)
    ended = [pace for pace in paces if pace.turns_per_s]
    turn_s = sum(pace.turn_s for pace in ended) / len(ended)
    return max(to_end / rate, lane * turn_s)


def retry_after_s(paces: Sequence[Pace], *, backlog: int, default_s: float) -> float:
    """Say when to come again to a backlog that is full: once there is room for more than one."""
    rate = sum(pace.turns_per_s for pace in paces)
    if not rate:
        return default_s
    return min(max(backlog * ROOM / rate, SHORTEST_RETRY_S), LONGEST_RETRY_S)
