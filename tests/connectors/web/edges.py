"""The web channel with its edges in memory: a real server on loopback, an engine that the test plays itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from connectors.base import Accepted
from connectors.live import Live
from connectors.web.connector import HEARTBEAT_S, WebConnector
from connectors.web.ports import Ports
from hub.errors import BusError
from hub.messages import InboundMessage, OutboundMessage, Source, Turn, utc_now
from hub.web_settings import WebSettings
from hubbub.testing import MemoryStore
from tests.connectors.web.memory import Judgements, Letters, PlainReader

KEY = b"a key for tests only, 32 bytes.."
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
}
SOURCE = Source(
    number=1,
    title="Telegram",
    location="docs/telegram.md",
    heading="Connect a bot",
    quote="Set telegram.token to the token that BotFather gave you.",
    score=0.8,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A live event."""

    kind: Literal["waiting", "typing", "delta", "reset", "final"]
    turn: str
    offset: int = 0
    text: str = ""
    wait_s: float = 0.0
    message: OutboundMessage | None = None


class MemoryLive:
    """Live text of one machine, as `connectors.web.ports.Live` promises it."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.listeners: dict[str, list[asyncio.Queue[Event]]] = {}
        self.announced: list[OutboundMessage] = []
        self.left = asyncio.Event()
        """Set once a listener is gone."""

    @asynccontextmanager
    async def listen(self, conversation: str) -> AsyncIterator[AsyncIterator[Event]]:
        """Hand out the events of a conversation."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self.listeners.setdefault(conversation, []).append(queue)
        try:
            yield _drain(queue)
        finally:
            self.listeners[conversation].remove(queue)
            self.left.set()

    async def partial(self, turn: str) -> str:
        """Return the text so far."""
        return self.texts.get(turn, "")

    async def announce(self, message: OutboundMessage) -> None:
        """Hand the final to whoever listens."""
        self.announced.append(message)
        self.tell(message.conversation, Event(kind="final", turn=message.turn, message=message))

    def tell(self, conversation: str, event: Event) -> None:
        """Give everybody who listens this event."""
        for queue in self.listeners.get(conversation, []):
            queue.put_nowait(event)


async def _drain(queue: asyncio.Queue[Event]) -> AsyncIterator[Event]:
    while True:
        yield await queue.get()


class MemoryHistory:
    """The turns that ended."""

    def __init__(self) -> None:
        self.past: dict[str, list[Turn]] = {}

    async def turns(self, conversation: str, last: int = 50) -> Sequence[Turn]:
        """Return the newest turns."""
        return self.past.get(conversation, [])[-last:]


class NoProgress:
    """Progress of a reply that nobody else sends."""

    def __init__(self) -> None:
        self.unclear_part: int | None = None
        self.placed_parts: dict[int, str] = {}
        self.replaced_parts: dict[int, str] = {}
        self.begun: list[int] = []

    async def begin(self, part: int) -> None:
        """Remember it."""
        self.begun.append(part)

    async def placed(self, part: int, remote_id: str) -> None:
        """Remember it."""
        self.placed_parts[part] = remote_id


class Bus:
    """What all processes of one hub share; the test is its engine."""

    def __init__(self) -> None:
        self.live = MemoryLive()
        self.history = MemoryHistory()
        self.store = MemoryStore()
        self.judgements = Judgements()
        self.letters = Letters()
        self.messages: dict[str, InboundMessage] = {}
        self.arrived: asyncio.Queue[str] = asyncio.Queue()
        self.before_publish: Callable[[InboundMessage], Awaitable[Accepted | None]] | None = None
        self.cancelled: list[str] = []
        """Turns whose pages have asked to stop them, newest last."""
        self.ended: set[str] = set()
        """Turns that have ended, one way or the other."""
        self._turns: dict[str, str] = {}

    async def cancel(self, conversation: str, turn: str = "") -> list[str]:
        """Note what is to be stopped; the test ends those turns itself."""
        is_open = [
            each
            for each, message in self.messages.items()
            if message.conversation == conversation and each not in self.ended
        ]
        stopped = [each for each in is_open if turn in ("", each)]
        self.cancelled += [each for each in stopped if each not in self.cancelled]
        return stopped

    async def was_cancelled(self, conversation: str, turn: str) -> bool:
        """Tell whether a turn has ended as cancelled, or will."""
        return turn in self.cancelled

    async def publish(self, message: InboundMessage) -> Accepted:
        """Take a message in; its key counts once."""
        if self.before_publish is not None and (answer := await self.before_publish(message)) is not None:
            return answer
        if known := self._turns.get(message.external_key):
            return Accepted(known, duplicate=True)
        turn = f"{1_700_000_000_000 + len(self.messages)}-0"
        self._turns[message.external_key] = turn
        self.messages[turn] = message
        self.arrived.put_nowait(turn)
        return Accepted(turn)

    def fail_next(self) -> None:
        """Store the next message nowhere."""

        async def fail(_: InboundMessage) -> None:
            self.before_publish = None
            raise BusError("Redis is away")

        self.before_publish = fail

    async def next_turn(self) -> str:
        """Wait for the next new message and return its turn."""
        async with asyncio.timeout(60):
            return await self.arrived.get()

    def typing(self, turn: str) -> None:
        """Take the turn up."""
        self.live.tell(self.messages[turn].conversation, Event(kind="typing", turn=turn))

    def say(self, turn: str, text: str) -> None:
        """Generate more of the answer."""
        before = self.live.texts.get(turn, "")
        self.live.texts[turn] = before + text
        self.live.tell(
            self.messages[turn].conversation, Event(kind="delta", turn=turn, offset=len(before), text=text)
        )

    def reset(self, turn: str) -> None:
        """Start the turn again, as a second worker does."""
        self.live.texts[turn] = ""
        self.live.tell(self.messages[turn].conversation, Event(kind="reset", turn=turn))

    def wait(self, turn: str, wait_s: float) -> None:
        """Let others come first."""
        self.live.tell(self.messages[turn].conversation, Event(kind="waiting", turn=turn, wait_s=wait_s))

    def withdraw(self, turn: str) -> OutboundMessage:
        """Commit the turn as cancelled: nothing of it is kept."""
        self.ended.add(turn)
        self.reset(turn)
        message = self.messages[turn]
        return OutboundMessage(
            reply_id=f"{turn}:0",
            turn=turn,
            conversation=message.conversation,
            address=message.address,
            kind="cancelled",
            text="",
            question=message.text,
        )

    def reply(self, turn: str, text: str, *sources: Source) -> OutboundMessage:
        """Commit the answer: it stands in the history from here on."""
        message = self.messages[turn]
        self.ended.add(turn)
        now = utc_now()
        done = Turn(
            turn=turn, question=message.text, answer=text, sources=sources, asked_at=now, answered_at=now
        )
        self.history.past.setdefault(message.conversation, []).append(done)
        return OutboundMessage(
            reply_id=f"{turn}:0",
            turn=turn,
            conversation=message.conversation,
            address=message.address,
            text=text,
            sources=sources,
            question=message.text,
        )


class HubProcess:
    """One process of the hub: a connector behind a real HTTP server.

    Args:
        extras: whether it takes feedback and files, and mails answers.
    """

    def __init__(
        self,
        bus: Bus,
        settings: WebSettings | None = None,
        *,
        live: Live | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        extras: bool = False,
    ) -> None:
        self.bus = bus
        ports = Ports(
            live=live or bus.live,
            history=bus.history,
            turns=bus,
            store=bus.store,
            feedback=bus.judgements if extras else None,
            reader=PlainReader() if extras else None,
            mail_out=bus.letters if extras else None,
        )
        self.connector = WebConnector(
            settings=settings or WebSettings(),
            ports=ports,
            public_url="",
            signing_key=KEY,
            heartbeat_s=heartbeat_s,
        )
        self.port = 0
        self._transports: list[asyncio.Transport] = []
        self._running: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *, ready: bool = True) -> None:
        """Listen; a hub that is not ready has no bus yet."""
        app = web.Application(middlewares=[self._remember])
        app.add_routes(self.connector.routes())
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        if ready:
            await self.take_messages()

    async def take_messages(self) -> None:
        """Connect to the bus."""
        self._running = asyncio.create_task(self.connector.run(self.bus.publish))
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """Shut down as the hub does: no more messages first, then no more connections."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def cut(self) -> None:
        """Cut all connections without a word, as a lost network does."""
        for transport in self._transports:
            transport.abort()
        self._transports.clear()

    async def answer(self, turn: str, text: str, *sources: Source) -> None:
        """Commit the answer and send it by this process."""
        await self.connector.send(self.bus.reply(turn, text, *sources), NoProgress())

    async def stopped(self, turn: str) -> None:
        """Commit the turn as cancelled and let this process say so."""
        await self.connector.send(self.bus.withdraw(turn), NoProgress())

    @web.middleware
    async def _remember(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path == "/ws/chat" and isinstance(request.transport, asyncio.Transport):
            self._transports.append(request.transport)
        return await handler(request)
