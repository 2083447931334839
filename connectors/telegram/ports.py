"""What the connector needs of the hub."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from connectors.base import AttachmentReader, Feedback
from connectors.live import Live
from hub.messages import Turn

Quarantine = Callable[[str, str, bytes], Awaitable[None]]
"""Note a message that can never be processed: source, reason, body. It keeps hash and size, not the content.

Raises: BusError: nothing was stored."""

Models = Callable[[], Sequence[str]]
"""Return the names of the models that people may choose."""


class Store(Protocol):
    """Small strings and sets by name, shared by all processes of the connector; durable like the streams.

    Raises: BusError: the store cannot be reached; what was asked for may or may not have happened.
    """

    async def get(self, name: str) -> str | None:
        """Return a value; None when there is none or its time has passed."""

    async def set(self, name: str, value: str, ttl_s: float | None = None) -> None:
        """Keep a value, for ever or for `ttl_s` seconds."""

    async def keep_first(self, name: str, value: str, ttl_s: float | None = None) -> str:
        """Keep a value unless there is one already; returns the one that stands."""

    async def delete(self, name: str) -> None:
        """Forget a value."""

    async def add(self, name: str, member: str) -> None:
        """Put a member into a set."""

    async def discard(self, name: str, member: str) -> None:
        """Take a member out of a set."""

    async def members(self, name: str) -> list[str]:
        """Return the members of a set, sorted."""


class History(Protocol):
    """The exchanges of a conversation that have ended."""

    async def turns(self, conversation: str, last: int = 50) -> Sequence[Turn]:
        """Return the newest turns, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The hub's side of the connector; what is None is not offered to people."""

    store: Store
    quarantine: Quarantine
    """Is told of updates that can never be processed."""
    live: Live | None = None
    """Source of live text; without it chats see "typing" only."""
    reader: AttachmentReader | None = None
    feedback: Feedback | None = None
    history: History | None = None
    models: Models | None = None
