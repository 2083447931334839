"""How far each reply has come on its way to its peer, so that another sender can go on where one has died."""

import asyncio
from collections.abc import Mapping
from typing import Any

from hub.bus.connection import bus_errors, repeat
from hub.bus.effects import Argument
from hub.bus.queue import Lease, OrderedQueue
from hub.errors import BusError, LeaseLost

LATE_ANSWERS = 3
"""After so many Redis is taken to be away."""


class Deliveries:
    """The records of one outbound queue; only who holds the lease of a destination writes what begins there."""

    def __init__(self, queue: OrderedQueue) -> None:
        self._queue = queue
        self._keys = queue.keys

    async def resume(self, lease: Lease, reply_id: str) -> dict[str, str]:
        """Read how far earlier senders of a reply have come; a request they left unanswered is counted, once.

        Raises: LeaseLost: another sender owns this destination by now.
        """
        with bus_errors("the delivery's state could not be read"):
            answer = await repeat(
                lambda: self._queue.run_script("send_load", self._owned(lease, reply_id), [lease.fence]),
                for_s=10,
            )
        if answer is None:
            raise LeaseLost(f"destination {lease.lane} has another sender")
        texts = [part.decode("utf-8", "replace") for part in answer]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    async def begin(self, lease: Lease, reply_id: str, part: int, *, remember_s: int) -> None:
        """Record that a request is about to leave for the peer.

        Raises:
            LeaseLost: another sender owns this destination by now.
            BusError: Redis is away, or so slow that its word is worth nothing when it arrives.
        """
        clock, lease_ms = asyncio.get_running_loop().time, self._queue.lease_ms
        arguments: list[Argument] = [lease.fence, part, remember_s, lease.lane, lease_ms]
        for _ in range(LATE_ANSWERS):
            asked_at = clock()
            await self._record("send_begin", lease, reply_id, arguments)
            # A process that slept since it asked reads a yes whose time is over; what it would send now might arrive
            # after all that another has sent meanwhile.
            if (clock() - asked_at) * 1000 < lease_ms:
                return
        raise BusError("Redis answers later than a lease lasts")

    async def undo(self, lease: Lease, reply_id: str, *, unclear_part: int | None) -> None:
        """Record that the peer certainly did nothing with the last request.

        Args:
            unclear_part: the part that was unclear before that request, and therefore still is.

        Raises: LeaseLost: another sender owns this destination by now.
        """
        arguments: list[Argument] = [lease.fence, "" if unclear_part is None else unclear_part]
        await self._record("send_undone", lease, reply_id, arguments)

    async def place(self, reply_id: str, part: int, remote_id: str, *, remember_s: int) -> None:
        """Record that the peer has confirmed a part; true whoever sends by now."""
        arguments: list[Argument] = [part, remote_id, remember_s]
        with bus_errors("a delivery could not be recorded"):
            await repeat(
                lambda: self._queue.run_script(
                    "send_placed", [self._keys.sent(reply_id)], arguments, confirmed=True
                ),
                for_s=30,
            )

    async def placed_parts(self, reply_id: str) -> dict[int, str]:
        """Return the parts of a reply that stand at its destination, with the peer's ids.

        Raises: BusError: Redis is away.
        """
        client: Any = self._queue.redis
        with bus_errors("an earlier reply could not be looked up"):
            fields = await client.hgetall(self._keys.sent(reply_id))
        return placed_parts(
            {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}
        )

    async def _record(self, script: str, lease: Lease, reply_id: str, arguments: list[Argument]) -> None:
        with bus_errors("a delivery could not be recorded"):
            is_owner = await repeat(
                lambda: self._queue.run_script(
                    script, self._owned(lease, reply_id), arguments, confirmed=True
                ),
                for_s=10,
            )
        if not is_owner:
            raise LeaseLost(f"destination {lease.lane} has another sender")

    def _owned(self, lease: Lease, reply_id: str) -> list[str]:
        return [self._keys.lease(self._queue.name, lease.lane), self._keys.sent(reply_id)]


def placed_parts(state: Mapping[str, str]) -> dict[int, str]:
    """Read from the state of a delivery which parts stand there, with the peer's ids."""
    return {
        int(name.removeprefix("placed:")): remote_id
        for name, remote_id in state.items()
        if name.startswith("placed:")
    }
