"""What engines do about somebody who is erased: they stop their answers, and let go of what they hold of them in memory."""

from collections.abc import Collection
from typing import Protocol

from hub.bus.bus import Bus
from hub.bus.control import Order, send_order
from hub.erasure.keyspace import paged
from hub.erasure.person import Person


class Engines(Protocol):
    """All engines that run just now."""

    async def stop(self, conversation: str) -> object:
        """Stop what runs in a conversation."""

    async def forget(self, audiences: Collection[str]) -> None:
        """Let go of what is held for audiences, see `audiences_of`; what was held for others stays.

        Raises: BusError: nobody could be told.
        """


class EnginesOnBus:
    """Engines that hear of it by the bus; one that does not run holds nothing."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def stop(self, conversation: str) -> object:
        """Stop what runs in a conversation."""
        return await self._bus.cancel(conversation)

    async def forget(self, audiences: Collection[str]) -> None:
        """Give an order to all of them; the erasure of orders removes it again."""
        for page in paged(sorted(audiences)):
            await send_order(self._bus.redis, Order(action="forget", audiences=tuple(page)))


def audiences_of(person: Person) -> frozenset[str]:
    """Name all for whom engines hold something of a person: conversations and groups, and keys that asked a model itself."""
    keys = {f"{one.connector}:{one.account}" for one in person.on("api")}
    return person.conversations | person.groups | keys
