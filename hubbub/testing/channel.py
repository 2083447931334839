"""A channel as the tests of the contract see it: a connector, and the far end where one person writes one message."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from connectors.base import Accepted, Connector
from hub.errors import BusError
from hub.messages import InboundMessage, OutboundMessage


class Inbound:
    """The bus's end of `publish`: takes each external key once."""

    def __init__(self) -> None:
        self.attempts = 0
        self.accepted: dict[str, InboundMessage] = {}
        self.failure: BusError | None = None
        self._changed = asyncio.Condition()

    async def publish(self, message: InboundMessage) -> Accepted:
        """Take a message in, or fail."""
        async with self._changed:
            self.attempts += 1
            self._changed.notify_all()
        if self.failure is not None:
            raise self.failure
        async with self._changed:
            is_known = message.external_key in self.accepted
            self.accepted[message.external_key] = message
            self._changed.notify_all()
        return Accepted(f"{len(self.accepted)}-0", duplicate=is_known)

    async def until(self, claim: Callable[[], bool], *, timeout_s: float = 20) -> None:
        """Wait until it is true.

        Raises: TimeoutError: it did not become true in time.
        """
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(claim)


class Channel(ABC):
    """A connector and the far end of its channel."""

    connector: Connector
    """Set by `open`."""
    parts = 1
    """Requests that `reply` takes."""

    def __init__(self) -> None:
        self.inbound = Inbound()
        self.opened = AsyncExitStack()
        """Closed when the test ends."""

    @abstractmethod
    async def open(self, folder: Path) -> None:
        """Start the far end and make the connector, which does not run yet; `folder` is empty."""

    @abstractmethod
    def reply(self) -> OutboundMessage:
        """Return a reply for the person."""

    @abstractmethod
    async def delivered(self) -> int:
        """Count the parts that have arrived at the far end."""

    @abstractmethod
    async def offer(self) -> bool:
        """Let the person write, the same message every time; tell whether the far end heard that it was taken."""

    async def ready(self) -> None:
        """Wait until `run` takes messages; by default it does as soon as it has begun."""
        await asyncio.sleep(0)

    async def fail(self, error: BusError) -> None:
        """Let the bus refuse messages from now on."""
        self.inbound.failure = error

    async def heal(self) -> None:
        """Let the bus take messages again."""
        self.inbound.failure = None

    async def messages(self) -> list[InboundMessage]:
        """Return what was stored."""
        return list(self.inbound.accepted.values())

    async def cut_off(self) -> None:
        """Put the far end out of reach, where there is one."""
        raise NotImplementedError

    def leave(self) -> None:
        """Make the person unreachable for good, where the far end tells that."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        """Run the intake while the block lasts."""
        task = asyncio.create_task(self.connector.run(self.inbound.publish))
        try:
            await self.ready()
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})


class Recorded:
    """Progress of one reply, and how much had arrived at each step."""

    def __init__(self, channel: Channel, placed: dict[int, str] | None = None) -> None:
        self.placed_parts = placed or {}
        self.unclear_part: int | None = None
        self.replaced_parts: dict[int, str] = {}
        self.steps: list[tuple[str, int, int]] = []
        """Step, part, and how many parts had arrived."""
        self._channel = channel

    async def begin(self, part: int) -> None:
        """Note a request that leaves."""
        self.steps.append(("begin", part, await self._channel.delivered()))

    async def placed(self, part: int, remote_id: str) -> None:
        """Note a request that was confirmed."""
        assert remote_id
        self.placed_parts[part] = remote_id
        self.steps.append(("placed", part, await self._channel.delivered()))
