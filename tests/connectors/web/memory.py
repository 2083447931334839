"""The ports of the web channel in memory: store, feedback, reader and mail, each of which the test looks into."""

import asyncio
import math
from typing import Any

from hub.errors import BusError
from hub.messages import Attachment, OutboundMessage


class MemoryStore:
    """Small state of one machine, as `connectors.web.ports.Store` promises it."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[str, float]] = {}
        self.sets: dict[str, set[str]] = {}
        self.now = 0.0
        """The time in seconds; a test lets it pass."""
        self.failure: BusError | None = None

    def fail(self) -> None:
        """Be away from now on."""
        self.failure = BusError("Redis is away")

    def _value(self, name: str) -> str | None:
        if self.failure is not None:
            raise self.failure
        value, ends = self.values.get(name, ("", -1.0))
        return value if self.now < ends else None

    async def get(self, name: str) -> str | None:
        """Return a value whose time has not passed."""
        return self._value(name)

    async def set(self, name: str, value: str, ttl_s: float | None = None) -> None:
        """Keep a value."""
        self._value(name)
        self.values[name] = (value, math.inf if ttl_s is None else self.now + ttl_s)

    async def claim(self, name: str, ttl_s: float) -> bool:
        """Take a name."""
        if self._value(name) is not None:
            return False
        await self.set(name, "1", ttl_s)
        return True

    async def delete(self, name: str) -> None:
        """Forget a value."""
        self._value(name)
        self.values.pop(name, None)

    async def increment(self, name: str, ttl_s: float, by: int = 1) -> int:
        """Count."""
        known = self._value(name)
        ends = self.now + ttl_s if known is None else self.values[name][1]
        self.values[name] = (str(int(known or 0) + by), ends)
        return int(self.values[name][0])

    async def add(self, name: str, member: str) -> None:
        """Put a member into a set."""
        self._value(name)
        self.sets.setdefault(name, set()).add(member)

    async def discard(self, name: str, member: str) -> None:
        """Take a member out of a set."""
        self._value(name)
        self.sets.get(name, set()).discard(member)

    async def members(self, name: str) -> list[str]:
        """Return the members of a set."""
        self._value(name)
        return sorted(self.sets.get(name, set()))


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
