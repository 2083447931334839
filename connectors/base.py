"""The contract of a channel: how it hands messages in and how it is asked to send replies."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from hub.events import Judgement
from hub.messages import Attachment, InboundMessage, OutboundMessage


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a published message."""

    turn: str
    """Entry id on the stream; empty when `lane_full`."""
    duplicate: bool = False
    """The same external key was accepted before; a success like the first time."""
    lane_full: bool = False
    """This conversation has too many waiting messages: nothing was stored; tell the person once a minute."""
    wait_s: float = 0.0
    """Estimated seconds until it is taken up; 0 where that is soon, or not known."""


Publish = Callable[[InboundMessage], Awaitable[Accepted]]
"""Store a message on the inbound stream; safe to repeat with the same `external_key`.

Raises: BusFull: the backlog is at its limit. BusError: Redis is away. In both cases nothing was stored
and the peer must not be told success."""


class AttachmentReader(Protocol):
    """Turns the files that come with a message into text."""

    async def read(self, name: str, media_type: str, data: bytes) -> Attachment:
        """Read one file, within limits of size, time and memory; one that gives no text has a `problem`.

        Args:
            name: as its sender calls it; shown, never used as a path.
            media_type: as its sender says; what the file is, is found out from its bytes where they tell.
        """


class Feedback(Protocol):
    """Takes what people think of an answer."""

    async def feedback(self, turn: str, conversation: str, person: str, value: Judgement) -> None:
        """Record a judgement; the same one again changes nothing, another takes its place.

        Raises: BusError: it was not stored; repeating is safe.
        """


class Progress(Protocol):
    """How far one reply has come, kept in Redis so that another process can go on.

    A connector that needs several requests for one reply numbers them from 0. It calls `begin` before each
    request leaves and `placed` once the peer has confirmed it.
    """

    @property
    def placed_parts(self) -> Mapping[int, str]:
        """Parts the peer has confirmed, with its id for each."""

    @property
    def replaced_parts(self) -> Mapping[int, str]:
        """Where `message.replaces` is set: the parts of that earlier reply, with the peer's id for each."""

    @property
    def unclear_part(self) -> int | None:
        """The part whose request left an earlier, dead sender without an answer; None in the normal case."""

    async def begin(self, part: int) -> None:
        """Record that the request for `part` is about to leave.

        Raises: LeaseLost: another sender owns this destination by now; stop at once.
        """

    async def placed(self, part: int, remote_id: str) -> None:
        """Record the peer's id for `part`."""


class Connector(Protocol):
    """A channel.

    Its name is the same word everywhere: module, settings table, outbound stream, `Address.connector`.
    """

    name: str

    async def run(self, publish: Publish) -> None:
        """Take messages in until cancelled; confirm to the peer only after `publish` has returned."""

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Deliver one reply; return only when the peer has confirmed all of it.

        A message of kind `cancelled` has no text and is not delivered: what the channel shows of its turn is taken back.

        Raises:
            RetryLater: the peer asked to wait, or cannot be reached; the reply is kept and sent later.
            DeliveryRefused: the peer refused for good; the reply is recorded as failed.
        """
