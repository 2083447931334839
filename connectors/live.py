"""What a channel needs to show an answer while it is generated; `hub.live` gives it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from hub.messages import OutboundMessage


class LiveEvent(Protocol):
    """One thing that happened in a conversation while somebody watched."""

    @property
    def kind(self) -> str:
        """What happened: `waiting` (others come first), `typing` (taken up), `delta` (text came), `reset` (the turn
        starts again) or `final` (durable).
        """

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
    def wait_s(self) -> float:
        """Of `waiting`: the estimated seconds until something is generated."""

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
