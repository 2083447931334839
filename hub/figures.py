"""What every process of the hub tells of itself with its heartbeat; processes without an HTTP server are seen by it."""

import time
from collections.abc import Sequence

import psutil
import structlog
from pydantic import Field, ValidationError
from redis.asyncio import Redis

from hub.bus.bus import Bus
from hub.bus.counts import FAILED, HELD, LOST, UNREAD
from hub.bus.heartbeat import told
from hub.messages import Message

log = structlog.get_logger(__name__)

ROLE = "process"
"""Under which all processes beat, beside those that beat as a hub or an engine."""


class ProcessFigures(Message):
    """One process, as it was a few seconds ago; what is counted is counted since it began."""

    process: str
    """Host, process number and a random part: no two are alike."""
    roles: str
    began_s: float
    """Seconds since 1970."""
    memory_bytes: int
    """Resident; models live in processes of their own and are told apart."""
    cpu_s: float
    turn_slots: int = 0
    """Turns it works on at once; 0 where it is no engine."""
    leases_held: dict[str, int] = Field(default_factory=dict)
    """By queue, as the next three."""
    leases_lost: dict[str, int] = Field(default_factory=dict)
    attempts_failed: dict[str, int] = Field(default_factory=dict)
    reads_failed: dict[str, int] = Field(default_factory=dict)
    spans_exported: int = 0
    spans_lost: int = 0


class Figures:
    """Looks at this process."""

    def __init__(self, bus: Bus, roles: Sequence[str], *, turn_slots: int = 0) -> None:
        self._bus = bus
        self._roles = ",".join(roles)
        self._turn_slots = turn_slots
        self._process = psutil.Process()
        self._began_s = time.time()

    def look(self) -> ProcessFigures:
        """Return the figures of this moment."""
        counts, spans, cpu = self._bus.counts, self._bus.traces.counts(), self._process.cpu_times()
        return ProcessFigures(
            process=self._bus.process,
            roles=self._roles,
            began_s=self._began_s,
            memory_bytes=self._process.memory_info().rss,
            cpu_s=cpu.user + cpu.system,
            turn_slots=self._turn_slots,
            leases_held=counts.of(HELD),
            leases_lost=counts.of(LOST),
            attempts_failed=counts.of(FAILED),
            reads_failed=counts.of(UNREAD),
            spans_exported=spans.get("exported", 0),
            spans_lost=spans.get("lost", 0),
        )

    def news(self) -> str:
        """Return the figures as a heartbeat tells them."""
        return self.look().model_dump_json()


async def processes(redis: Redis) -> list[ProcessFigures]:
    """Return the figures of all processes that live, by name.

    Raises: BusError: Redis is away.
    """
    found = []
    for news in await told(redis, ROLE):
        try:
            found.append(ProcessFigures.model_validate_json(news))
        except ValidationError:
            log.warning("process_figures_unreadable")
    return sorted(found, key=lambda figures: figures.process)
