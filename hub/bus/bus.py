"""Everything a process needs of Redis, opened once: clients, queues by name, history, dead letters."""

from dataclasses import replace
from typing import Any

import structlog
from pydantic import ValidationError
from redis.asyncio import Redis

from hub.bus.connection import bus_errors, connect, connect_reader
from hub.bus.consumer import Bury, Consumer, ConsumerOptions, Handler, consumer_name
from hub.bus.control import Order, send_order
from hub.bus.counts import Counts
from hub.bus.dead import DeadLetters
from hub.bus.history import History
from hub.bus.keys import Keys, shard_of
from hub.bus.queue import MAX_BODY_BYTES, OrderedQueue, Published, QueueLimits
from hub.bus.reader import StreamReader
from hub.commands import is_stop
from hub.errors import BusError, UnreadableEntry
from hub.live import DeltaWriter
from hub.messages import InboundMessage, OutboundMessage, shortened
from hub.pace import PaceBoard, retry_after_s, wait_s
from hub.people import principal_of
from hub.settings import BusSettings
from hub.traces import NO_TRACES, Traces
from hub.traces.intake import began_ns

log = structlog.get_logger(__name__)

INBOUND = "inbound"
REMEMBER_S = {"telegram": 48 * 3600, "email": 30 * 86400}
"""How long a channel's message ids are remembered; a channel delivers the same message again within it."""
REMEMBER_DEFAULT_S = 24 * 3600
RETRY_AFTER_S = 5.0
"""When somebody who is refused may come again, while nobody knows how fast things go."""


def outbound(connector: str) -> str:
    """Name the queue of a connector's replies."""
    return f"outbound:{connector}"


class Bus:
    """The Redis side of one process.

    Args:
        warn_wait_s: shorter waits are not told.
        traces: where the way of each message is recorded.
    """

    def __init__(
        self, url: str, settings: BusSettings, *, warn_wait_s: float = 3.0, traces: Traces = NO_TRACES
    ) -> None:
        self.url = url
        self.traces = traces
        self.process = consumer_name()
        """Names this process among all of the hub."""
        self.counts = Counts()
        """What the consumers of this process do and what goes wrong there."""
        self.settings = settings
        self.redis: Redis = connect(url)
        self.history = History(self.redis, shards=settings.shards)
        self.dead_letters = DeadLetters(self.redis, shards=settings.shards)
        self._paces = PaceBoard(self.redis)
        self._warn_wait_s = warn_wait_s
        self._limits = QueueLimits(
            backlog=settings.max_backlog,
            lane=settings.max_lane,
            lease_s=settings.lease_s,
            attempts=settings.max_attempts,
            replicas=settings.min_replicas,
        )
        self._queues: dict[tuple[str, int], OrderedQueue] = {}

    def keys(self, conversation: str) -> Keys:
        """Return the keys of the shard a conversation lives in."""
        return Keys(shard_of(conversation, self.settings.shards))

    def queue(self, name: str, shard: int) -> OrderedQueue:
        """Return one shard of a queue; its group is `engine` for `inbound` and `senders` for the others."""
        if (name, shard) not in self._queues:
            group = "engine" if name == INBOUND else "senders"
            self._queues[name, shard] = OrderedQueue(self.redis, Keys(shard), name, group, self._limits)
        return self._queues[name, shard]

    def queues(self, name: str) -> list[OrderedQueue]:
        """Return all shards of a queue."""
        return [self.queue(name, shard) for shard in range(self.settings.shards)]

    async def publish(self, message: InboundMessage) -> Published:
        """Store a message on the inbound stream.

        A message that is larger than an entry may be loses first what it quotes, then what is attached, and only
        then the end of its text; no context window would hold it anyway.

        `/stop` cancels, in the same step, what stands before it in its conversation, and an edit what it replaces. Where others come first for
        long, that is announced as live text and in what is returned.

        A trace that the message carries is gone on with, else it begins here.

        Raises: BusError: Redis is away.
        """
        span = self.traces.begin("receive", kind="server", carrier=message.trace, began_ns=began_ns())
        span.set(connector=message.address.connector)
        try:
            published = await self._publish(message, span.carrier)
        except BusError as error:
            span.end(type(error).__name__)
            raise
        span.set(status=published.status, turn=published.entry)
        span.end()
        log.info(
            "message_received",
            connector=message.address.connector,
            conversation=message.conversation,
            status=published.status,
            turn=published.entry,
            wait_s=round(published.wait_s, 1),
            **span.in_log,
        )
        return published

    async def _publish(self, message: InboundMessage, trace: dict[str, str]) -> Published:
        # Added once the message is short enough: what a trace takes costs nobody the end of their text.
        body = shortened(message, MAX_BODY_BYTES).model_copy(update={"trace": trace})
        stops = message.generation is None and is_stop(message.text)
        published = await self._inbound(message.conversation).publish(
            message.external_key,
            message.conversation,
            body.model_dump_json().encode("utf-8", "replace"),
            remember_s=REMEMBER_S.get(message.address.connector, REMEMBER_DEFAULT_S),
            stops=stops,
            origin=message.replaces or message.origin,
            is_edit=bool(message.replaces),
            person=principal_of(message.address),
        )
        if message.replaces and published.status in ("OK", "DUPLICATE"):
            # What was still being answered is not any more.
            await self._tell_of_cancel(message.conversation)
        if stops and published.status in ("OK", "DUPLICATE"):
            await self._tell_of_cancel(message.conversation)
            return published
        return await self._with_estimate(message.conversation, published)

    async def _with_estimate(self, conversation: str, published: Published) -> Published:
        backlog = published.backlog * self.settings.shards
        if published.status == "FULL":
            again_s = retry_after_s(await self._paces.paces(), backlog=backlog, default_s=RETRY_AFTER_S)
            return replace(published, retry_after_s=again_s)
        if not backlog:
            return published
        estimate = wait_s(await self._paces.paces(), backlog=backlog, lane=published.lane)
        if estimate is None or estimate < self._warn_wait_s:
            return published
        shards = self.settings.shards
        writer = DeltaWriter(self.redis, shards=shards, turn=published.entry, conversation=conversation)
        await writer.waiting(estimate)
        return replace(published, wait_s=estimate)

    async def cancel(self, conversation: str, turn: str = "") -> list[str]:
        """Cancel a turn that waits or runs, or all of a conversation that do so now.

        It holds also where no engine runs yet; what was answered stays answered.

        Returns: the turns that are certain to end as cancelled, oldest first.
        Raises: BusError: Redis is away; repeating is safe.
        """
        turns = await self._inbound(conversation).cancel(conversation, turn)
        log.info("cancel_ordered", conversation=conversation, turn=turn, turns=len(turns))
        if turns:
            await self._tell_of_cancel(conversation, turn)
        return turns

    async def is_cancelled(self, conversation: str, turn: str) -> bool:
        """Tell whether a turn that waits or runs is to end as cancelled.

        Raises: BusError: Redis is away.
        """
        return (await self._inbound(conversation).cancelling(conversation, turn))[0]

    async def cancelled_by(self, conversation: str, turn: str) -> int:
        """Count the turns that a message cancelled when it came; for the worker that answers it.

        Raises: BusError: Redis is away.
        """
        return (await self._inbound(conversation).cancelling(conversation, turn))[1]

    async def was_cancelled(self, conversation: str, turn: str) -> bool:
        """Tell whether a turn has ended as cancelled within the last day, or is certain to.

        Raises: BusError: Redis is away.
        """
        # The mark comes first: it goes in the step in which the other one comes.
        if await self.is_cancelled(conversation, turn):
            return True
        client: Any = self.redis
        with bus_errors("the end of a turn could not be looked up"):
            return bool(await client.exists(self.keys(conversation).stopped(turn)))

    async def was_erased(self, message: InboundMessage) -> bool:
        """Tell whether a message was erased with its person while somebody works on it.

        Raises: BusError: Redis is away.
        """
        with bus_errors("it could not be looked up whether a message was erased"):
            return bool(await self.redis.exists(Keys().erased(message.external_key)))

    async def replaced_turn(self, message: InboundMessage, turn: str) -> str:
        """Return the turn whose answer an edit replaces; empty where there is none, or it was never answered.

        Raises: BusError: Redis is away.
        """
        if not message.replaces:
            return ""
        queue = self._inbound(message.conversation)
        for earlier in await queue.replaced_by(message.conversation, message.replaces, turn):
            # An edit of an edit that came in time: what is to be replaced stands further back.
            if not await self.was_cancelled(message.conversation, earlier):
                return earlier
        return ""

    async def _tell_of_cancel(self, conversation: str, turn: str = "") -> None:
        try:
            await send_order(self.redis, Order(action="cancel", conversation=conversation, turn=turn))
        except BusError as error:
            # The mark stands: whoever works on the turn finds it at the latest when it is done.
            log.warning("cancel_not_announced", conversation=conversation, error=str(error))

    def _inbound(self, conversation: str) -> OrderedQueue:
        return self.queue(INBOUND, shard_of(conversation, self.settings.shards))

    def consumers(
        self, name: str, *, handle: Handler, bury: Bury, options: ConsumerOptions
    ) -> list[Consumer]:
        """Make one consumer per shard of a queue; each reads over a connection of its own."""
        consumers = []
        for queue in self.queues(name):
            reader_name = consumer_name()
            reader = StreamReader(queue, connect_reader(self.url), reader_name)
            consumers.append(
                Consumer(
                    queue,
                    reader,
                    name=reader_name,
                    handle=handle,
                    bury=bury,
                    options=options,
                    counts=self.counts,
                )
            )
        return consumers

    async def backlog(self, name: str = INBOUND) -> int:
        """Count the entries of a queue that wait or run."""
        return sum([await queue.backlog() for queue in self.queues(name)])

    async def ping(self) -> None:
        """Raise BusError unless Redis answers."""
        with bus_errors("Redis does not answer"):
            client: Any = self.redis
            await client.ping()

    async def close(self) -> None:
        """Close the connections for short commands."""
        await self.redis.aclose()


def parse_inbound(body: bytes) -> InboundMessage:
    """Read a message from the stream.

    Raises: UnreadableEntry: the body is not one.
    """
    try:
        return InboundMessage.model_validate_json(body)
    except ValidationError as error:
        raise UnreadableEntry(f"the entry is no message: {error.error_count()} faults") from error


def parse_outbound(body: bytes) -> OutboundMessage:
    """Read a reply from its stream.

    Raises: UnreadableEntry: the body is not one.
    """
    try:
        return OutboundMessage.model_validate_json(body)
    except ValidationError as error:
        raise UnreadableEntry(f"the entry is no reply: {error.error_count()} faults") from error
