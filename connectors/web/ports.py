"""What the web channel needs from the hub beside live text: the past, a stop, a store and mail."""

from collections.abc import Sequence
from typing import Protocol

from hub.messages import OutboundMessage, Turn


class History(Protocol):
    """The exchanges of a conversation that have ended."""

    async def turns(self, conversation: str, last: int = 50) -> Sequence[Turn]:
        """Return the newest turns, oldest first."""


class Turns(Protocol):
    """The turns of a conversation that wait or run."""

    async def cancel(self, conversation: str, turn: str = "") -> Sequence[str]:
        """Cancel one, or all that wait or run now; returns those that are certain to end as cancelled.

        Raises: BusError: Redis is away.
        """

    async def was_cancelled(self, conversation: str, turn: str) -> bool:
        """Tell whether a turn has ended as cancelled within the last day, or is certain to.

        Raises: BusError: Redis is away.
        """


class MailOut(Protocol):
    """Sends an answer to somebody who has left the page."""

    async def mail(self, message: OutboundMessage, address: str) -> None:
        """Hand an answer over to be mailed; returns once it cannot be lost any more.

        Raises: BusError, RetryLater: it was not handed over; repeating is safe.
        """


class Store(Protocol):
    """Small values by name, shared by all processes of the channel.

    Raises: BusError: the store cannot be reached; what was asked for may or may not have happened.
    """

    async def get(self, name: str) -> str | None:
        """Return a value; None when there is none or its time has passed."""

    async def set(self, name: str, value: str, ttl_s: float | None = None) -> None:
        """Keep a value, for `ttl_s` seconds or for ever."""

    async def claim(self, name: str, ttl_s: float) -> bool:
        """Take a name for `ttl_s` seconds; True for the first who asks."""

    async def delete(self, name: str) -> None:
        """Forget a value."""

    async def increment(self, name: str, ttl_s: float, by: int = 1) -> int:
        """Add one, or `by`, and return the sum; the first call starts the time, later ones do not prolong it."""

    async def add(self, name: str, member: str) -> None:
        """Put a member into a set."""

    async def discard(self, name: str, member: str) -> None:
        """Take a member out of a set."""

    async def members(self, name: str) -> list[str]:
        """Return the members of a set."""
