"""What stands at the edges of the connector in its tests: the bus, the store and the quarantine, in memory."""

import asyncio
from collections.abc import Mapping

from connectors.base import Accepted, AttachmentReader
from connectors.email.connector import EmailConnector
from hub.email_settings import EmailSettings, MailAccountSettings
from hub.messages import Attachment, InboundMessage, OutboundMessage
from hubbub.testing import MemoryStore
from tests.servers.accounts import mail_account


class Bus:
    """Takes what is published; accepts each external key once."""

    def __init__(self) -> None:
        self.messages: list[InboundMessage] = []
        self.failures: list[Exception] = []
        """Raised by the next calls, one each."""
        self.calls = 0
        self._changed = asyncio.Condition()

    async def publish(self, message: InboundMessage) -> Accepted:
        """Accept a message."""
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        if any(message.external_key == other.external_key for other in self.messages):
            return Accepted(turn="", duplicate=True)
        async with self._changed:
            self.messages.append(message)
            self._changed.notify_all()
        return Accepted(turn=f"{len(self.messages)}-0")

    async def received(self, count: int, timeout_s: float = 60.0) -> list[InboundMessage]:
        """Wait until `count` messages are there."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: len(self.messages) >= count)
        return self.messages


class Quarantined:
    """What was put aside: (source, reason, body)."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, bytes]] = []
        self._changed = asyncio.Condition()

    async def __call__(self, source: str, reason: str, body: bytes) -> None:
        """Keep an entry."""
        async with self._changed:
            self.entries.append((source, reason, body))
            self._changed.notify_all()

    async def received(self, count: int, timeout_s: float = 120.0) -> list[tuple[str, str, bytes]]:
        """Wait until `count` entries are there."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: len(self.entries) >= count)
        return self.entries


class Reader:
    """Reads every file as UTF-8, and keeps what it was given."""

    def __init__(self) -> None:
        self.files: list[tuple[str, str, bytes]] = []

    async def read(self, name: str, media_type: str, data: bytes) -> Attachment:
        """Read one file."""
        self.files.append((name, media_type, data))
        text = data.decode("utf-8", "replace")
        return Attachment(name=name, media_type="text/plain", size_bytes=len(data), text=text)


class SendProgress:
    """How far one reply has come."""

    def __init__(self, unclear_part: int | None = None) -> None:
        self._placed: dict[int, str] = {}
        self._unclear_part = unclear_part
        self.replaced_parts: dict[int, str] = {}
        self.begun: list[int] = []

    @property
    def placed_parts(self) -> Mapping[int, str]:
        """Return the confirmed parts."""
        return self._placed

    @property
    def unclear_part(self) -> int | None:
        """Return the part an earlier sender left open."""
        return self._unclear_part

    async def begin(self, part: int) -> None:
        """Note the beginning."""
        self.begun.append(part)

    async def placed(self, part: int, remote_id: str) -> None:
        """Note the end."""
        self._placed[part] = remote_id


def account(address: str, imap_port: int, smtp_port: int = 1, **more: str | bool) -> MailAccountSettings:
    """Describe an account of the private servers."""
    values = mail_account(address, imap_port=imap_port, smtp_port=smtp_port)
    return MailAccountSettings.model_validate(values | {"name": "Test Hub"} | more)


class Hub:
    """A connector with its edges; `async with` keeps it running."""

    def __init__(
        self,
        settings: EmailSettings,
        store: MemoryStore | None = None,
        reader: AttachmentReader | None = None,
    ) -> None:
        self.store = store or MemoryStore()
        self.bus = Bus()
        self.quarantined = Quarantined()
        self.connector = EmailConnector(settings, self.store, self.quarantined, reader)
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Hub":
        """Start to watch the mailboxes."""
        self._running = asyncio.create_task(self.connector.run(self.bus.publish))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.wait({self._running})
        if not self._running.cancelled() and (error := self._running.exception()) is not None:
            raise error

    async def send(self, reply: OutboundMessage, progress: SendProgress | None = None) -> SendProgress:
        """Send a reply."""
        progress = progress or SendProgress()
        await self.connector.send(reply, progress)
        return progress


def reply_to(
    message: InboundMessage, text: str = "The **port** is 8080.", turn: str = "1-0"
) -> OutboundMessage:
    """Answer a message as the engine would."""
    return OutboundMessage(
        reply_id=f"{turn}:0",
        turn=turn,
        conversation=message.conversation,
        address=message.address,
        text=text,
        reply=message.reply,
        question=message.text,
        created_at=message.received_at,
    )
