"""Orders to every process at once: cancel a turn, forget somebody, load or unload a model. Heard by who runs, never repeated."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys
from hub.bus.tail import Tail

log = structlog.get_logger(__name__)

ORDERS_KEPT = 1000


class Order(BaseModel):
    """One order; a receiver does what concerns it and ignores the rest."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    action: Literal["cancel", "forget", "load", "unload"]
    conversation: str = ""
    turn: str = ""
    """Of `cancel`: the entry id; empty means every turn of the conversation. The order is only the news of it: what
    is cancelled is marked in Redis before, by `Bus.cancel`."""
    audiences: tuple[str, ...] = ()
    """Of `forget`: for whom nothing is to be held in memory any more."""
    model: str = ""


async def send_order(redis: Redis, order: Order) -> None:
    """Give an order to every process that listens, this one included.

    Raises: BusError: Redis is away.
    """
    client: Any = redis
    with bus_errors("an order could not be given"):
        await client.xadd(
            Keys().control, {"order": order.model_dump_json()}, maxlen=ORDERS_KEPT, approximate=True
        )


class Control:
    """Sends orders, and hands those of others to whoever listens in this process."""

    def __init__(self, redis: Redis, reader: Redis) -> None:
        self._redis = redis
        self._tail = Tail(redis, reader, [Keys().control], name="orders")
        self._listeners: list[Callable[[Order], None]] = []

    @property
    def ready(self) -> asyncio.Event:
        """Set once `run` receives; what happens before is not heard."""
        return self._tail.ready

    async def send(self, order: Order) -> None:
        """Give an order to every process that listens, this one included.

        Raises: BusError: Redis is away.
        """
        await send_order(self._redis, order)

    def listen(self, handle: Callable[[Order], None]) -> None:
        """Call `handle` with every order from now on."""
        self._listeners.append(handle)

    async def run(self, stop: asyncio.Event) -> None:
        """Receive orders until `stop` is set."""
        await self._tail.run(self._deliver, stop)

    def _deliver(self, fields: dict[bytes, bytes]) -> None:
        try:
            order = Order.model_validate_json(fields.get(b"order", b""))
        except ValidationError:
            log.warning("order_unreadable")
            return
        for handle in self._listeners:
            handle(order)
