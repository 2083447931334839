"""What is noted of one attempt to deliver a reply, and the one line that tells where the time of its message went."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import structlog

from hub.bus.entries import entry_ms
from hub.bus.queue import CommitOutcome, Lease
from hub.messages import Course, OutboundMessage, utc_now
from hub.traces import Traces, attempting, timed

log = structlog.get_logger(__name__)


class DeliveryRecord:
    """One attempt, from the moment it begins."""

    def __init__(self, traces: Traces, lease: Lease, message: OutboundMessage) -> None:
        self._lease = lease
        self._message = message
        self._send_ms = 0.0
        # Where the clocks of two machines differ nothing waits for less than no time.
        came_ns = min(entry_ms(lease.head) * 1_000_000, time.time_ns())
        self._wait_ms = (time.time_ns() - came_ns) / 1_000_000
        carrier, connector = message.trace, message.address.connector
        waited = traces.begin("wait", kind="internal", carrier=carrier, began_ns=came_ns)
        waited.set(turn=message.turn, queue=f"outbound:{connector}", attempt=self._attempt)
        waited.end()
        self._span = traces.begin("deliver", kind="producer", carrier=carrier)
        self._span.set(turn=message.turn, connector=connector, attempt=self._attempt)

    @property
    def _attempt(self) -> int:
        return self._lease.attempts + self._lease.retries

    def running(self) -> AbstractContextManager[None]:
        """Take the steps of the block as steps of this delivery; what breaks it off ends the attempt."""
        return attempting(self._span)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Measure how long the peer takes."""
        began = time.monotonic()
        try:
            with timed("send"):
                yield
        finally:
            self._send_ms = (time.monotonic() - began) * 1000

    def ended(self, state: str, reason: str, unclear: int, outcome: CommitOutcome, commit_ms: float) -> None:
        """End the span, and write the line of the message once its end is stored."""
        commit = self._span.child("commit", began_ns=time.time_ns() - round(commit_ms * 1_000_000))
        commit.end("" if outcome == "committed" else outcome)
        self._span.set(state=state)
        self._span.end("" if (outcome, state) == ("committed", "placed") else f"{outcome} {state}")
        if outcome != "committed":
            # Another sender ends the delivery, and writes the line.
            log.warning("delivery_not_stored", turn=self._message.turn, outcome=outcome)
            return
        message = self._message
        course = message.course or Course(received_at=message.created_at)
        numbers = course.model_dump(exclude={"received_at"})
        log.info(
            "message_done",
            turn=message.turn,
            conversation=message.conversation,
            connector=message.address.connector,
            **self._span.in_log,
            outcome=state,
            reason=reason,
            kind=message.kind,
            code=message.code,
            **numbers,
            wait_ms=round(self._wait_ms, 1),
            send_ms=round(self._send_ms, 1),
            commit_ms=round(commit_ms, 1),
            total_ms=round(max(0.0, (utc_now() - course.received_at).total_seconds() * 1000), 1),
            deliveries=self._attempt,
            unclear=unclear,
        )
