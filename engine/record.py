"""What is noted of one attempt at a turn: its spans, where its time went, and the line in the log when it has ended."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import structlog

from engine.answers import TurnStats
from hub.bus.entries import entry_ms
from hub.bus.queue import CommitOutcome, Lease
from hub.messages import Course, InboundMessage, utc_now
from hub.traces import Traces, attempting, timed

log = structlog.get_logger(__name__)


class TurnRecord:
    """One attempt, from the moment it begins."""

    def __init__(self, traces: Traces, lease: Lease, message: InboundMessage) -> None:
        self._lease = lease
        self._message = message
        self._began = time.monotonic()
        self._queue_ms = max(0.0, (utc_now() - message.received_at).total_seconds() * 1000)
        self._recall_ms = 0.0
        # Where the clocks of two machines differ nothing waits for less than no time.
        came_ns = min(entry_ms(lease.head) * 1_000_000, time.time_ns())
        carrier = message.trace
        waited = traces.begin("wait", kind="internal", carrier=carrier, began_ns=came_ns)
        waited.set(turn=lease.head, queue="inbound", attempt=lease.attempts)
        waited.end()
        self._span = traces.begin("turn", kind="consumer", carrier=carrier)
        self._span.set(turn=lease.head, connector=message.address.connector, attempt=lease.attempts)

    @property
    def trace(self) -> dict[str, str]:
        """What the reply carries."""
        return self._span.carrier or self._message.trace

    def running(self) -> AbstractContextManager[None]:
        """Take the steps of the block as steps of this turn; what breaks it off ends the attempt."""
        return attempting(self._span)

    @contextmanager
    def recalling(self) -> Iterator[None]:
        """Measure how long it takes to look up what is remembered."""
        began = time.monotonic()
        with timed("recall"):
            yield
        self._recall_ms = (time.monotonic() - began) * 1000

    def course(self, stats: TurnStats | None = None) -> Course:
        """Tell where the time went until now."""
        stats = stats or TurnStats()
        return Course(
            received_at=self._message.received_at,
            attempts=self._lease.attempts + self._lease.retries,
            model=stats.model if stats.asked else "",
            prompt_tokens=stats.prompt_tokens,
            cached_tokens=stats.cached_tokens,
            answer_tokens=stats.answer_tokens,
            queue_ms=round(self._queue_ms, 1),
            recall_ms=round(self._recall_ms, 1),
            retrieve_ms=round(stats.retrieve_ms, 1),
            first_token_ms=round(stats.first_token_ms, 1),
            generate_ms=round(stats.generate_ms, 1),
            check_ms=round(stats.check_ms, 1),
            turn_ms=round((time.monotonic() - self._began) * 1000, 1),
        )

    def ended(self, course: Course, outcome: CommitOutcome, commit_ms: float, **more: Any) -> None:
        """Write the line of this attempt, and end its span with what the commit took."""
        commit = self._span.child("commit", began_ns=time.time_ns() - round(commit_ms * 1_000_000))
        commit.end("" if outcome == "committed" else outcome)
        numbers = course.model_dump(exclude={"received_at"})
        self._span.set(**numbers, **more)
        self._span.end("" if outcome == "committed" else outcome)
        log.info(
            "turn_ended",
            turn=self._lease.head,
            conversation=self._message.conversation,
            connector=self._message.address.connector,
            **self._span.in_log,
            outcome=outcome,
            **more,
            **numbers,
            commit_ms=round(commit_ms, 1),
        )
