"""The ports of the web channel in memory: store, feedback, reader and mail, each of which the test looks into."""

import asyncio
from typing import Any

from hub.messages import Attachment, OutboundMessage


class Judgements:
    """Takes feedback and remembers it."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[tuple[str, str, str, str]] = asyncio.Queue()

    async def feedback(self, turn: str, conversation: str, person: str, value: str) -> None:
        """Remember a judgement."""
        self.taken.put_nowait((turn, conversation, person, value))


class PlainReader:
    """Reads files that are UTF-8 text; some names have a problem."""

    async def read(self, name: str, media_type: str, data: bytes) -> Attachment:
        """Return the file as an attachment."""
        problem: Any = name.partition(".")[0] if name.endswith(".problem") else ""
        text = "" if problem else data.decode("utf-8", "replace")
        return Attachment(name=name, media_type=media_type, size_bytes=len(data), text=text, problem=problem)


class Letters:
    """Takes answers that go by mail."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        """Address and text of each."""
        self.messages: list[OutboundMessage] = []
        self.failures: list[Exception] = []
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        """Cleared by a test that wants one to take long."""
        self.may_end.set()

    async def mail(self, message: OutboundMessage, address: str) -> None:
        """Take one, or fail."""
        self.begun.set()
        await self.may_end.wait()
        if self.failures:
            raise self.failures.pop()
        self.sent.append((address, message.text))
        self.messages.append(message)
