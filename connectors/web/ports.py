"""What the web channel needs of the hub."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from connectors.base import AttachmentReader, Feedback
from connectors.live import Live
from connectors.store import Store
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
        """Hand an answer over to be mailed; returns once it cannot be lost any more. The same one twice is one mail.

        Raises: BusError, RetryLater: it was not handed over; repeating is safe.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The hub's side of the channel; what is None is not offered to visitors."""

    live: Live
    history: History
    turns: Turns
    store: Store
    feedback: Feedback | None = None
    """Takes judgements."""
    reader: AttachmentReader | None = None
    """Reads files."""
    mail_out: MailOut | None = None
    """Mails answers to visitors who have gone; without it the widget asks for no address."""
