"""A hub's edge for Telegram tests: the connector on a real HTTP server, with a bus that keeps messages in a list."""

import asyncio
import contextlib
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from connectors.base import Accepted
from connectors.telegram.connector import TelegramConnector
from connectors.telegram.ports import Ports
from connectors.telegram.webhook import Callers
from hub.errors import BusError
from hub.live import LiveEvent
from hub.messages import Address, Attachment, InboundMessage, OutboundMessage, Source, Turn, utc_now
from hub.settings import TelegramSettings
from hubbub.testing import MemoryStore
from tests.emulators.bot_api import BotApi

CHAT = 4711


@dataclass
class MemoryBus:
    """Accepts messages as the inbound stream does."""

    accepted: list[InboundMessage] = field(default_factory=list)
    failure: BusError | None = None
    lane_full: bool = False
    wait_s: float = 0.0

    async def publish(self, message: InboundMessage) -> Accepted:
        """Keep a message once for each external key."""
        if self.failure is not None:
            raise self.failure
        if self.lane_full:
            return Accepted("", lane_full=True)
        for number, earlier in enumerate(self.accepted):
            if earlier.external_key == message.external_key:
                return Accepted(f"{number}-0", duplicate=True)
        self.accepted.append(message)
        return Accepted(f"{len(self.accepted) - 1}-0", wait_s=self.wait_s)

    @property
    def texts(self) -> list[str]:
        """Return what people wrote."""
        return [message.text for message in self.accepted]


class MemoryFeedback:
    """What people think, by turn and person."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str, str]] = []
        self.failure: BusError | None = None

    async def feedback(self, turn: str, conversation: str, person: str, value: str) -> None:
        """Note a judgement."""
        if self.failure is not None:
            raise self.failure
        self.calls.append((turn, conversation, person, value))


class TextReader:
    """Reads every file as UTF-8."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.error: Exception | None = None

    async def read(self, name: str, media_type: str, data: bytes) -> Attachment:
        """Return the text of a file."""
        await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        return Attachment(name=name, media_type=media_type, size_bytes=len(data), text=data.decode())


@dataclass
class MemoryHistory:
    """Turns that a test writes by hand."""

    past: dict[str, list[Turn]] = field(default_factory=dict)

    async def turns(self, conversation: str, last: int = 50) -> list[Turn]:
        """Return the newest turns."""
        return self.past.get(conversation, [])[-last:]

    def add(self, conversation: str, turn: str, *sources: Source) -> None:
        """Let a turn have been answered."""
        now = utc_now()
        ended = Turn(turn=turn, question="q", answer="a", sources=sources, asked_at=now, answered_at=now)
        self.past.setdefault(conversation, []).append(ended)


@dataclass
class MemoryProgress:
    """Remembers the parts of one reply."""

    placed_parts: dict[int, str] = field(default_factory=dict)
    replaced_parts: dict[int, str] = field(default_factory=dict)
    unclear_part: int | None = None
    begun: list[int] = field(default_factory=list)

    async def begin(self, part: int) -> None:
        """Note that a part leaves."""
        self.begun.append(part)

    async def placed(self, part: int, remote_id: str) -> None:
        """Note that a part arrived."""
        self.placed_parts[part] = remote_id


class MemoryLive:
    """Live text that a test writes by hand."""

    def __init__(self) -> None:
        self.announced: list[OutboundMessage] = []
        self.partials: dict[str, str] = {}
        self.listening = asyncio.Event()
        self._queues: defaultdict[str, list[asyncio.Queue[LiveEvent]]] = defaultdict(list)

    @contextlib.asynccontextmanager
    async def listen(self, conversation: str) -> AsyncIterator[AsyncIterator[LiveEvent]]:
        """Receive what `tell` says about a conversation."""
        queue: asyncio.Queue[LiveEvent] = asyncio.Queue()
        self._queues[conversation].append(queue)
        self.listening.set()

        async def events() -> AsyncIterator[LiveEvent]:
            while True:
                yield await queue.get()

        yield events()

    async def partial(self, turn: str) -> str:
        """Return what a test put down as the text so far."""
        return self.partials[turn]

    async def announce(self, message: OutboundMessage) -> None:
        """Keep the reply."""
        self.announced.append(message)

    def tell(self, event: LiveEvent) -> None:
        """Send an event to the listeners."""
        for queue in self._queues[event.conversation]:
            queue.put_nowait(event)


@dataclass
class Edge:
    """Everything a test needs at hand."""

    telegram: BotApi
    connector: TelegramConnector
    bus: MemoryBus
    live: MemoryLive
    quarantined: list[tuple[str, str, bytes]]
    store: MemoryStore
    feedback: MemoryFeedback
    reader: TextReader
    history: MemoryHistory
    url: str
    running: "asyncio.Task[None]"

    async def received(self, count: int) -> list[str]:
        """Wait until so many messages are on the bus; returns their texts."""
        await self.telegram.until(lambda: len(self.bus.accepted) >= count)
        return self.bus.texts


@contextlib.asynccontextmanager
async def edge(
    telegram: BotApi,
    *,
    polling: bool = False,
    run: bool = True,
    wait: bool = True,
    token: str = "",
    interval_s: float = 0.01,
    live: bool = True,
    store: MemoryStore | None = None,
    buttons: bool = False,
    models: tuple[str, ...] = (),
    reader: bool = True,
    callers: Callers | None = None,
) -> AsyncIterator[Edge]:
    """Run the connector against the emulator until the block ends.

    Args:
        wait: whether the block begins when updates are received.
        store: what an earlier connector has left.
        buttons: whether answers can be judged, and their sources be shown.
    """
    quarantined: list[tuple[str, str, bytes]] = []

    async def quarantine(source: str, reason: str, body: bytes) -> None:
        quarantined.append((source, reason, body))

    app = web.Application()
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    settings = TelegramSettings(
        token=SecretStr(token or telegram.token),
        api_base=telegram.url,
        edit_interval_s=interval_s,
        poll_timeout_s=2,
    )
    bus, memory_live = MemoryBus(), MemoryLive()
    site = _Site(runner)
    store, text_reader = store or MemoryStore(), TextReader()
    feedback, history = MemoryFeedback(), MemoryHistory()
    ports = Ports(
        store=store,
        quarantine=quarantine,
        live=memory_live if live else None,
        reader=text_reader if reader else None,
        feedback=feedback if buttons else None,
        history=history if buttons else None,
        models=(lambda: models) if models else None,
    )
    connector = TelegramConnector(settings, "" if polling else site.url, ports, callers)
    app.add_routes(connector.routes())
    await site.start()
    running = asyncio.create_task(connector.run(bus.publish)) if run else asyncio.create_task(_nothing())
    try:
        if run and wait and not token:
            await telegram.until(lambda: telegram.called("getUpdates") if polling else telegram.webhook)
        yield Edge(
            telegram=telegram,
            connector=connector,
            bus=bus,
            live=memory_live,
            quarantined=quarantined,
            store=store,
            feedback=feedback,
            reader=text_reader,
            history=history,
            url=site.url,
            running=running,
        )
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await connector.close()
        await runner.cleanup()


class _Site:
    """A server whose port is known before it starts, because the connector is told its URL first."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def start(self) -> None:
        """Listen."""
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()


async def _nothing() -> None:
    await asyncio.Event().wait()


def reply(
    text: str,
    *,
    chat: int = CHAT,
    turn: str = "0-0",
    sources: tuple[Source, ...] = (),
    reply_to: int = 0,
    conversation: str = "",
    thread: str = "",
    asked: int = 0,
    language: str = "",
    **fields: Any,
) -> OutboundMessage:
    """Build a reply as it comes from the outbound stream; `fields` are further fields of it."""
    handed_through = {"message_id": str(reply_to) if reply_to else "", "language": language}
    handed_through["asked"] = str(asked or round(time.time()) + 60)
    return OutboundMessage(
        reply_id=f"{turn}:0",
        turn=turn,
        conversation=conversation or f"telegram-123456-{chat}",
        address=Address(connector="telegram", account="123456", chat=str(chat), thread=thread, person="1"),
        text=text,
        sources=sources,
        reply={name: value for name, value in handed_through.items() if value},
        **fields,
    )
