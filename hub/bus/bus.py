"""Everything a process needs of Redis, opened once: clients, queues by name, history, dead letters."""

from typing import Any

import structlog
from pydantic import ValidationError
from redis.asyncio import Redis

from hub.bus.connection import bus_errors, connect, connect_reader
from hub.bus.consumer import Bury, Consumer, ConsumerOptions, Handler, consumer_name
from hub.bus.dead import DeadLetters
from hub.bus.history import History
from hub.bus.keys import Keys, shard_of
from hub.bus.queue import MAX_BODY_BYTES, OrderedQueue, Published, QueueLimits
from hub.bus.reader import StreamReader
from hub.errors import UnreadableEntry
from hub.messages import InboundMessage, OutboundMessage, shortened
from hub.settings import BusSettings

log = structlog.get_logger(__name__)

INBOUND = "inbound"
REMEMBER_S = {"telegram": 48 * 3600, "email": 30 * 86400}
"""How long a channel's message ids are remembered; a channel delivers the same message again within it."""
REMEMBER_DEFAULT_S = 24 * 3600


def outbound(connector: str) -> str:
    """Name the queue of a connector's replies."""
    return f"outbound:{connector}"


class Bus:
    """The Redis side of one process."""

    def __init__(self, url: str, settings: BusSettings) -> None:
        self.url = url
        self.settings = settings
        self.redis: Redis = connect(url)
        self.history = History(self.redis, shards=settings.shards)
        self.dead_letters = DeadLetters(self.redis, shards=settings.shards)
        self._limits = QueueLimits(
            backlog=settings.max_backlog,
            lane=settings.max_lane,
            lease_s=settings.lease_s,
            attempts=settings.max_attempts,
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

        Raises: BusError: Redis is away.
        """
        queue = self.queue(INBOUND, shard_of(message.conversation, self.settings.shards))
        published = await queue.publish(
            message.external_key,
            message.conversation,
            shortened(message, MAX_BODY_BYTES).model_dump_json().encode("utf-8", "replace"),
            remember_s=REMEMBER_S.get(message.address.connector, REMEMBER_DEFAULT_S),
        )
        log.info(
            "message_received",
            connector=message.address.connector,
            conversation=message.conversation,
            status=published.status,
            turn=published.entry,
        )
        return published

    def consumers(
        self, name: str, *, handle: Handler, bury: Bury, options: ConsumerOptions
    ) -> list[Consumer]:
        """Make one consumer per shard of a queue; each reads over a connection of its own."""
        consumers = []
        for queue in self.queues(name):
            reader_name = consumer_name()
            reader = StreamReader(queue, connect_reader(self.url), reader_name)
            consumers.append(
                Consumer(queue, reader, name=reader_name, handle=handle, bury=bury, options=options)
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
