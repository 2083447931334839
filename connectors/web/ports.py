"""What the web channel needs from the hub: live text while it is generated, and what was said before."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from hub.messages import OutboundMessage, Turn


class LiveEvent(Protocol):
    """One thing that happened in a conversation while somebody watched."""

    @property
    def kind(self) -> str:
        """`typing` (taken up), `delta` (text came), `reset` (the turn starts again) or `final` (durable)."""

    @property
    def turn(self) -> str:
        """Entry id of the inbound message."""

    @property
    def offset(self) -> int:
        """Code points that came before `text`."""

    @property
    def text(self) -> str:
        """What a `delta` adds."""

    @property
    def message(self) -> OutboundMessage | None:
        """The reply of a `final`; None for the other kinds."""


class Live(Protocol):
    """Text on its way, seen by every process of the hub."""

    def listen(self, conversation: str) -> AbstractAsyncContextManager[AsyncIterator[LiveEvent]]:
        """Watch a conversation; every event after the context was entered arrives.

        Raises: BusError: Redis is away.
        """

    async def partial(self, turn: str) -> str:
        """Return what was generated for a turn so far; empty when there is nothing yet or any more."""

    async def announce(self, message: OutboundMessage) -> None:
        """Tell every process of a final reply."""


class History(Protocol):
    """The exchanges of a conversation that have ended."""

    async def turns(self, conversation: str, last: int = 50) -> Sequence[Turn]:
        """Return the newest turns, oldest first."""
