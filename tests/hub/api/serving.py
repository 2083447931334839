"""A whole API server on real parts, with an engine that echoes."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from connectors.api import ApiConnector
from hub.api.parts import ApiParts
from hub.api.server import listening, make_app
from hub.app.admin import open_admin
from hub.app.erasure import unfinished_erasures
from hub.app.loops import run_loops
from hub.bus.bus import INBOUND, Bus, outbound, parse_inbound, parse_outbound
from hub.bus.calls import Caller, serve
from hub.bus.connection import connect_reader
from hub.bus.consumer import ConsumerOptions
from hub.bus.effects import append_effect, event_effect, publish_effect
from hub.bus.heartbeat import beat
from hub.bus.queue import Commit, Lease
from hub.bus.state import State
from hub.citations import Citations
from hub.database import async_engine, upgrade
from hub.events import TurnEvent
from hub.guard_settings import ReviewSettings
from hub.keys import KeyStore
from hub.limits import RateLimits
from hub.live import Live
from hub.messages import InboundMessage, OutboundMessage, Source, Turn, utc_now
from hub.metrics import EventMetrics, Metrics
from hub.provision.jobs import ProvisionJobs
from hub.settings import ApiSettings, BusSettings, KeySettings, Settings
from knowledge.versions import DocumentVersions

LOOPBACK = (IPv4Network("127.0.0.0/8"),)
SOURCE = Source(
    number=1, title="Guide", location="docs/guide.md", heading="Start", quote="Start it.", score=0.8
)


@dataclass
class Api:
    """A running server and what is behind it."""

    parts: ApiParts
    port: int
    session: aiohttp.ClientSession
    stop: asyncio.Event
    tasks: asyncio.TaskGroup
    engine: "EchoEngine"
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def new_key(self, tier: str = "own", *scopes: str) -> dict[str, str]:
        """Make a key; returns the header that carries it."""
        return {"X-API-Key": (await self.parts.keys.create(tier, scopes=scopes)).text}

    async def start_engine(self) -> None:
        """Let messages be answered and searches be served from now on."""
        self.engine.start()


class EchoEngine:
    """Answers each message with its own text, and delivers the answers of the api channel."""

    def __init__(self, bus: Bus, live: Live, stop: asyncio.Event, tasks: asyncio.TaskGroup) -> None:
        self.bus, self.live, self.stop, self.tasks = bus, live, stop, tasks
        self.gate = asyncio.Event()
        self.gate.set()
        self.delivers = True
        """Whether answers are announced; without, they are in the history only."""
        self.seen: list[InboundMessage] = []
        self.sent: list[OutboundMessage] = []
        self.connector = ApiConnector(live)

    def start(self) -> None:
        """Begin to work."""
        options = ConsumerOptions(concurrency=32, drain_timeout_s=1)
        consumers = self.bus.consumers(INBOUND, handle=self._answer, bury=self._answer, options=options)
        consumers += self.bus.consumers(
            outbound("api"), handle=self._deliver, bury=self._deliver, options=options
        )
        for consumer in consumers:
            self.tasks.create_task(consumer.run(self.stop))
        self.tasks.create_task(beat(self.bus.redis, "engine", self.stop))
        services = {"search": self._search}
        self.tasks.create_task(serve(self.bus.redis, connect_reader(self.bus.url), services, self.stop))

    async def _answer(self, lease: Lease) -> Commit:
        message = parse_inbound(lease.body)
        self.seen.append(message)
        writer = self.live.writer(lease.head, message.conversation)
        await writer.typing()
        await self.gate.wait()
        text = f"You said: {message.text}"
        if message.stream:
            await writer.add(text[:5])
            await writer.close()
            await writer.add(text[5:])
        await writer.close()
        now = utc_now()
        reply = OutboundMessage(
            reply_id=f"{lease.head}:0",
            turn=lease.head,
            conversation=message.conversation,
            address=message.address,
            text=text,
            sources=(SOURCE,),
            created_at=now,
        )
        turn = Turn(
            turn=lease.head,
            question=message.text,
            answer=text,
            sources=(SOURCE,),
            asked_at=message.received_at,
            answered_at=now,
        )
        event = TurnEvent(
            turn=lease.head,
            connector="api",
            account=message.address.account,
            route="echo",
            queue_ms=5,
            turn_ms=20,
            prompt_tokens=7,
            answer_tokens=3,
            model="echo",
            cached_tokens=2,
        )
        keys = self.bus.keys(message.conversation)
        return Commit(
            [
                append_effect(keys.history(message.conversation), turn.model_dump_json().encode(), keep=200),
                publish_effect(keys, outbound("api"), message.address.chat, reply.model_dump_json().encode()),
                event_effect(keys, event.fields()),
            ]
        )

    async def _deliver(self, lease: Lease) -> Commit:
        if self.delivers:
            message = parse_outbound(lease.body)
            self.sent.append(message)
            await self.connector.send(message, RecordedProgress())
        return Commit()

    async def _search(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        hit = {
            "source": "docs/guide.md",
            "title": "Guide",
            "heading": "Start",
            "text": request["q"],
            "score": 0.5,
        }
        return {"results": [hit] * request["k"]}


class RecordedProgress:
    """Progress of one reply, in memory."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.parts: dict[int, str] = {}
        self.replaced_parts: dict[int, str] = {}

    @property
    def placed_parts(self) -> Mapping[int, str]:
        """What was placed."""
        return self.parts

    @property
    def unclear_part(self) -> int | None:
        """Nothing is unclear."""
        return None

    async def begin(self, part: int) -> None:
        """Note it."""
        self.begun.append(part)

    async def placed(self, part: int, remote_id: str) -> None:
        """Note it."""
        self.parts[part] = remote_id


@asynccontextmanager
async def serving(
    redis_url: str,
    data: Path,
    *,
    api: ApiSettings | None = None,
    keys: KeySettings | None = None,
    bus_settings: BusSettings | None = None,
    review: ReviewSettings | None = None,
    extra: Sequence[web.AbstractRouteDef] = (),
    admin: Settings | None = None,
) -> AsyncIterator[Api]:
    """Run a server on a free port while the block lasts; with the operators' routes where their settings are given."""
    url = f"sqlite:///{data / 'hubbub.db'}"
    await asyncio.to_thread(upgrade, url)
    database = async_engine(url)
    bus = Bus(redis_url, bus_settings or BusSettings())
    stop = asyncio.Event()
    key_settings = keys or KeySettings()
    caller = Caller(bus.redis, connect_reader(redis_url))
    opened, asked = AsyncExitStack(), asyncio.Event()
    parts = ApiParts(
        bus=bus,
        live=Live(bus.redis, connect_reader(redis_url)),
        caller=caller,
        keys=KeyStore(database, key_settings.tiers),
        limits=RateLimits(bus.redis),
        metrics=Metrics(),
        settings=api or ApiSettings(port=0),
        key_settings=key_settings,
        jobs=ProvisionJobs(Settings(data=data), State(bus.redis, "provision")),
        review=review or ReviewSettings(),
        citations=Citations(DocumentVersions(database)),
        admin=open_admin(admin, bus, caller, database, opened, asked) if admin else None,
    )
    events = EventMetrics(bus.redis, connect_reader(redis_url), parts.metrics)
    app = make_app(parts, extra)
    try:
        async with asyncio.TaskGroup() as tasks:
            for loop in (parts.live.run(stop), parts.caller.run(stop), events.run(stop)):
                tasks.create_task(loop)
            if admin:
                tasks.create_task(run_loops([unfinished_erasures(admin, bus, asked)], stop))
            try:
                async with (
                    listening(app, parts.settings, drain_timeout_s=1) as port,
                    aiohttp.ClientSession() as session,
                ):
                    engine = EchoEngine(bus, parts.live, stop, tasks)
                    yield Api(parts=parts, port=port, session=session, stop=stop, tasks=tasks, engine=engine)
            finally:
                stop.set()
    finally:
        await opened.aclose()
        await bus.close()
        await database.dispose()


async def exchange(port: int, request: bytes) -> bytes:
    """Send raw bytes and return all that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()
