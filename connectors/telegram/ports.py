"""What the connector needs of the hub."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from connectors.base import AttachmentReader, Feedback
from connectors.live import Live
from connectors.store import Store
from hub.messages import Turn

Quarantine = Callable[[str, str, bytes], Awaitable[None]]
"""Note a message that can never be processed: source, reason, body. It keeps hash and size, not the content.

Raises: BusError: nothing was stored."""

Models = Callable[[], Sequence[str]]
"""Return the names of the models that people may choose."""


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
