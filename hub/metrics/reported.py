"""Counts what workers and senders report on the events streams."""

import asyncio
from collections.abc import Mapping

from redis.asyncio import Redis

from hub.bus.keys import Keys
from hub.bus.tail import Tail
from hub.events import DeliveryEvent, FeedbackEvent, TurnEvent, parse_event
from hub.metrics.counted import Metrics

GATHER_S = 0.2


class EventMetrics:
    """Counts what workers and senders report on the events streams, from the moment it starts.

    Args:
        redis: for short commands.
        reader: a client of its own, closed at the end of `run`.
    """

    def __init__(self, redis: Redis, reader: Redis, metrics: Metrics, *, shards: int = 1) -> None:
        self._metrics = metrics
        events = [Keys(shard).events for shard in range(shards)]
        self._tail = Tail(redis, reader, events, name="events", gather_s=GATHER_S)

    @property
    def ready(self) -> asyncio.Event:
        """Set once everything that happens from now on is counted."""
        return self._tail.ready

    async def run(self, stop: asyncio.Event) -> None:
        """Count until `stop` is set."""
        await self._tail.run(self._count, stop)

    async def positions(self) -> Mapping[str, str]:
        """Tell the last entry of each stream that was counted."""
        return self._tail.positions

    def _count(self, fields: dict[bytes, bytes]) -> None:
        match parse_event(fields):
            case TurnEvent() as turn:
                self._metrics.turn_ended(turn)
            case DeliveryEvent() as delivery:
                self._metrics.delivery_ended(delivery)
            case FeedbackEvent() as feedback if feedback.value:
                self._metrics.judged(feedback)
