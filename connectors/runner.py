"""The pump between a connector and the bus: its messages go in, the replies of its outbound stream go out."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Literal, Protocol

import structlog

from connectors.base import Accepted, Connector
from connectors.record import DeliveryRecord
from hub.bus.bus import Bus, outbound, parse_outbound
from hub.bus.consumer import ConsumerOptions, GiveBack
from hub.bus.deliveries import Deliveries, placed_parts
from hub.bus.effects import event_effect, set_effect
from hub.bus.queue import Commit, Lease, OrderedQueue
from hub.errors import BusError, BusFull, DeliveryRefused, RetryLater, UnreadableEntry
from hub.events import DeliveryEvent
from hub.messages import InboundMessage, OutboundMessage, reply_id_of, utc_now

log = structlog.get_logger(__name__)

SENT_TTL_S = 7 * 86400
LONGEST_WAIT_S = 300.0


class Recorder(Protocol):
    """Keeps what was said, where the operator wants it kept."""

    async def record(self, message: OutboundMessage, is_wanted: Callable[[], Awaitable[bool]]) -> None:
        """Write one delivered reply.

        Args:
            is_wanted: asked when nobody can erase what was said before it is written; False where that has happened.

        Raises: OSError: it was not written.
        """


class RedisProgress:
    """How far one reply has come; see `connectors.base.Progress`."""

    def __init__(self, deliveries: Deliveries, lease: Lease, reply_id: str, state: Mapping[str, str]) -> None:
        self._deliveries = deliveries
        self._lease = lease
        self._reply_id = reply_id
        self.placed_parts = placed_parts(state)
        self.replaced_parts: Mapping[int, str] = {}
        is_unclear = state.get("state") == "unclear"
        self.unclear_part: int | None = int(state.get("part", 0)) if is_unclear else None
        self.unclear_sends = int(state.get("unclear", 0))

    @classmethod
    async def load(
        cls, queue: OrderedQueue, lease: Lease, reply_id: str, *, replaces: str = ""
    ) -> "RedisProgress":
        """Read what earlier senders of this reply have recorded.

        Args:
            replaces: the turn whose reply it takes the place of.
        """
        deliveries = Deliveries(queue)
        progress = cls(deliveries, lease, reply_id, await deliveries.resume(lease, reply_id))
        if replaces:
            progress.replaced_parts = await deliveries.placed_parts(reply_id_of(replaces))
        if progress.unclear_part is not None:
            # A request left and its sender died or heard nothing.
            log.warning("send_unclear", reply=reply_id, part=progress.unclear_part)
        return progress

    async def begin(self, part: int) -> None:
        """Record that the request for `part` is about to leave."""
        await self._deliveries.begin(self._lease, self._reply_id, part, remember_s=SENT_TTL_S)

    async def placed(self, part: int, remote_id: str) -> None:
        """Record the peer's id for `part`."""
        self.placed_parts[part] = remote_id
        await self._deliveries.place(self._reply_id, part, remote_id, remember_s=SENT_TTL_S)

    async def not_carried_out(self) -> None:
        """Record that the peer certainly did nothing with the last request."""
        await self._deliveries.undo(self._lease, self._reply_id, unclear_part=self.unclear_part)


class Sender:
    """Sends the replies of one connector, each destination in order."""

    def __init__(
        self, bus: Bus, connector: Connector, *, give_up_s: float, recorder: Recorder | None = None
    ) -> None:
        self._bus = bus
        self._connector = connector
        self._give_up_s = give_up_s
        self._recorder = recorder

    async def deliver(self, lease: Lease) -> Commit:
        """Send the reply at the head of a destination."""
        try:
            message = parse_outbound(lease.body)
        except UnreadableEntry as error:
            return Commit(dead_letter=str(error))
        queue = self._queue_of(lease)
        record = DeliveryRecord(self._bus.traces, lease, message)
        with record.running():
            progress = await RedisProgress.load(queue, lease, message.reply_id, replaces=message.replaces)
            end = partial(self._finish, queue, message, progress, record)
            try:
                with record.sending():
                    await self._connector.send(message, progress)
            except DeliveryRefused as error:
                return end("failed", str(error))
            except RetryLater as error:
                await self._wait_or_give_up(lease, message, progress, error)
                return end("gave_up", error.reason)
            await self._record(queue, lease, message)
            return end("placed", "")

    async def _record(self, queue: OrderedQueue, lease: Lease, message: OutboundMessage) -> None:
        try:
            # Where a turn was cancelled nothing was said.
            if self._recorder and message.kind != "cancelled":
                await self._recorder.record(message, lambda: queue.renew(lease))
        except (OSError, BusError) as error:
            # The reply stands at its destination: a full disk must not have it sent again.
            log.warning("interaction_not_recorded", reply=message.reply_id, error=str(error))

    async def bury(self, lease: Lease) -> Commit:
        """Give a reply up whose attempts are used up."""
        reason = f"sending failed {lease.attempts - 1} times"
        try:
            message = parse_outbound(lease.body)
        except UnreadableEntry as error:
            return Commit(dead_letter=str(error))
        queue = self._queue_of(lease)
        record = DeliveryRecord(self._bus.traces, lease, message)
        with record.running():
            progress = await RedisProgress.load(queue, lease, message.reply_id, replaces=message.replaces)
            return self._finish(queue, message, progress, record, "gave_up", reason)

    def _queue_of(self, lease: Lease) -> OrderedQueue:
        return self._bus.queue(outbound(self._connector.name), self._bus.keys(lease.lane).shard)

    async def _wait_or_give_up(
        self, lease: Lease, message: OutboundMessage, progress: RedisProgress, error: RetryLater
    ) -> None:
        """Return when the reply is too old to be tried again.

        Raises: GiveBack: it is tried later.
        """
        # By the clock of Redis alone: those of the machine that answered and of this one may differ by days.
        if await self._queue_of(lease).age_s(lease.head) > self._give_up_s:
            progress.unclear_sends += int(error.unclear)
            return
        if not error.unclear:
            await progress.not_carried_out()
        # The peer's own word counts; without one the wait grows with every attempt.
        wait_s = max(error.retry_after_s, min(2.0 ** min(lease.retries, 12), LONGEST_WAIT_S))
        log.warning("reply_delayed", reply=message.reply_id, reason=error.reason, wait_s=round(wait_s, 1))
        raise GiveBack(wait_s * random.uniform(1.0, 1.1))  # noqa: S311 - jitter

    def _finish(
        self,
        queue: OrderedQueue,
        message: OutboundMessage,
        progress: RedisProgress,
        record: DeliveryRecord,
        state: Literal["placed", "failed", "gave_up"],
        reason: str,
    ) -> Commit:
        wait_ms = (utc_now() - message.created_at).total_seconds() * 1000
        event = DeliveryEvent(
            turn=message.turn,
            connector=self._connector.name,
            state=state,
            unclear=progress.unclear_sends,
            wait_ms=max(0, round(wait_ms)),
            conversation=message.conversation,
        )
        # With its destination, by which an erasure finds it: some channels note nothing before.
        kept = {"state": state, "reason": reason, "lane": message.conversation}
        effects = (
            set_effect(queue.keys.sent(message.reply_id), kept, ttl_s=SENT_TTL_S),
            event_effect(queue.keys, event.fields()),
        )
        return Commit(
            effects,
            dead_letter=f"given up: {reason}" if state == "gave_up" else "",
            ended=partial(record.ended, state, reason, progress.unclear_sends),
        )


async def run_connector(
    connector: Connector, bus: Bus, sender: Sender, stop: asyncio.Event, *, options: ConsumerOptions
) -> None:
    """Run both directions of a connector until `stop` is set, then drain."""
    consumers = bus.consumers(
        outbound(connector.name), handle=sender.deliver, bury=sender.bury, options=options
    )
    intake = asyncio.create_task(_intake(connector, bus), name=f"intake {connector.name}")
    try:
        async with asyncio.TaskGroup() as tasks:
            for consumer in consumers:
                tasks.create_task(consumer.run(stop), name=f"sender {connector.name}")
            tasks.create_task(_end_intake(intake, stop))
    finally:
        intake.cancel()
        await asyncio.gather(intake, return_exceptions=True)


async def _end_intake(intake: "asyncio.Task[None]", stop: asyncio.Event) -> None:
    await stop.wait()
    intake.cancel()


async def _intake(connector: Connector, bus: Bus) -> None:
    """Keep the connector's intake running: what it raises is logged, and it starts again."""

    async def publish(message: InboundMessage) -> Accepted:
        published = await bus.publish(message)
        if published.status == "FULL":
            raise BusFull(published.retry_after_s)
        return Accepted(
            turn=published.entry,
            duplicate=published.status == "DUPLICATE",
            lane_full=published.status == "LANE_FULL",
            wait_s=published.wait_s,
        )

    delay_s = 1.0
    while True:
        try:
            await connector.run(publish)
            return
        except Exception:
            log.exception("connector_failed", connector=connector.name, restart_in_s=delay_s)
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 2, 60.0)
