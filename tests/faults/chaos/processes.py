"""The processes of a run: connectors with their senders, and engines whose model can be told to misbehave."""

import asyncio
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvloop
from aiohttp import web
from pydantic import SecretStr

from connectors.base import Connector
from connectors.email.connector import EmailConnector
from connectors.http.connector import HttpConnector, make
from connectors.parts import ConnectorParts
from connectors.runner import Sender, run_connector
from connectors.telegram.connector import TelegramConnector
from connectors.telegram.ports import Ports
from engine.memory.conversation import ConversationMemory
from engine.turn import Answer, Recollection, TextSink, TurnStats
from engine.worker import Worker
from hub.bus import effects
from hub.bus.bus import Bus
from hub.bus.connection import connect_reader
from hub.bus.consumer import ConsumerOptions
from hub.bus.control import Control
from hub.bus.state import State
from hub.documents.reader import AttachmentReader
from hub.errors import ModelError
from hub.live import Live
from hub.messages import InboundMessage
from hub.people import People
from hub.settings import BusSettings, TelegramSettings
from tests.faults.chaos.mailbox import mail_settings
from tests.faults.chaos.recorded import RecordedBus, tag_of
from tests.faults.history import History
from tests.faults.processes import Plan

SECRET = "a secret of two parties"
HISTORY_TURNS = 50
SLOW_S = 0.3
"""How long a slow answer takes."""
MEMORY_LIMIT_BYTES = 3 << 30
"""Of an engine's address space: a model that grows beyond it gets an error, and the machine is spared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosPlan(Plan):
    """How the processes of a run are set up."""

    history: Path
    hub_url: str = ""
    """What connectors connect to: another way to the same Redis, with faults of its own."""
    port: int = 0
    """Where all connectors listen; the system shares the connections out."""
    callback_url: str = ""
    telegram_url: str = ""
    telegram_token: str = ""
    imap_port: int = 0
    """Of the hubs' mailbox; 0: they have none."""
    smtp_port: int = 0
    max_backlog: int = 400
    max_lane: int = 20

    def opened(self, url: str, log: Path) -> RecordedBus:
        """Open the bus of a process."""
        settings = BusSettings(
            lease_s=self.lease_s,
            max_attempts=self.max_attempts,
            max_backlog=self.max_backlog,
            max_lane=self.max_lane,
            history_turns=HISTORY_TURNS,
        )
        return RecordedBus(url, settings, History(self.history, log.stem))


class ObedientAssistant:
    """Answers what it is asked with a function of the question and of what it remembers; some words make it misbehave."""

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message."""
        match message.text.split()[0]:
            case "hang":
                await asyncio.Event().wait()
            case "abort":
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                os.abort()
            case "grow":
                # Refused by the limit of this process's memory.
                bytearray(MEMORY_LIMIT_BYTES)
            case "fail":
                raise ModelError("the model failed")
            case "slow":
                await asyncio.sleep(SLOW_S)
        before = [tag_of(turn.question) for turn in recollection.turns[-1:]]
        said = " ".join(["answer", tag_of(message.text), "after", *before])
        await text.add(said)
        return Answer(kind="answer", text=said, stats=TurnStats())


def run_engine(plan: ChaosPlan, log: Path) -> None:
    """Be an engine."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))

    async def work(bus: Bus, stop: asyncio.Event) -> None:
        worker = Worker(
            bus,
            Live(bus.redis, bus.redis),
            ObedientAssistant(),
            memory=ConversationMemory(bus, People(bus.redis), history_turns=HISTORY_TURNS, recalled_turns=3),
            turn_timeout_s=plan.turn_timeout_s,
        )
        control = Control(bus.redis, connect_reader(plan.url))
        control.listen(worker.obey)
        consumers = bus.consumers("inbound", handle=worker.handle, bury=worker.bury, options=plan.options())
        await asyncio.gather(control.run(stop), *(consumer.run(stop) for consumer in consumers))

    _run(plan, plan.url, log, work)


def run_hub(plan: ChaosPlan, log: Path) -> None:
    """Be a process with channels: their ways in and their ways out."""

    async def serve(bus: Bus, stop: asyncio.Event) -> None:
        http, telegram = _http(plan, bus), _telegram(plan, bus)
        app = web.Application()
        app.add_routes([*http.routes(), *telegram.routes()])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", plan.port, reuse_port=True).start()
        options = ConsumerOptions(
            concurrency=8, drain_timeout_s=plan.drain_timeout_s, stale_every_s=0.3, orphans_every_s=0.6
        )
        channels: list[Connector] = [http, telegram, *_email(plan, bus)]
        await asyncio.gather(
            *(_channel(channel, bus, stop, options) for channel in channels), _closing(runner, stop)
        )
        await telegram.close()

    _run(plan, plan.hub_url, log, serve)


async def _closing(runner: web.AppRunner, stop: asyncio.Event) -> None:
    # Nothing more is taken in as soon as the process is to end; its senders go on until they are done.
    await stop.wait()
    await runner.cleanup()


async def _channel(connector: Connector, bus: Bus, stop: asyncio.Event, options: ConsumerOptions) -> None:
    await run_connector(connector, bus, Sender(bus, connector, give_up_s=3600), stop, options=options)


def _http(plan: ChaosPlan, bus: Bus) -> HttpConnector:
    parts = ConnectorParts(
        name="http",
        public_url="",
        store=State(bus.redis, "http"),
        live=Live(bus.redis, bus.redis),
        quarantine=bus.dead_letters.quarantine,
        reader=AttachmentReader(),
    )
    table = {"type": "http", "secret": SECRET, "callback_url": plan.callback_url, "timeout_s": 3.0}
    return make(table, parts)


def _telegram(plan: ChaosPlan, bus: Bus) -> TelegramConnector:
    settings = TelegramSettings(
        token=SecretStr(plan.telegram_token), api_base=plan.telegram_url, stream=False
    )
    ports = Ports(store=State(bus.redis, "telegram"), quarantine=bus.dead_letters.quarantine)
    return TelegramConnector(settings, f"http://127.0.0.1:{plan.port}", ports)


def _email(plan: ChaosPlan, bus: Bus) -> list[Connector]:
    if not plan.imap_port:
        return []
    settings = mail_settings(plan.imap_port, plan.smtp_port)
    return [EmailConnector(settings, State(bus.redis, "email"), bus.dead_letters.quarantine)]


def _run(plan: ChaosPlan, url: str, log: Path, main: Callable[[Bus, asyncio.Event], Awaitable[None]]) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    structlog.configure(cache_logger_on_first_use=True)
    # What has ended is read from the events when a run is over: a long one has more of them than a hub keeps.
    effects.EVENTS_KEPT = 10_000_000

    async def run() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        bus = plan.opened(url, log)
        await main(bus, stop)
        await bus.close()

    # The loop of the hub's own processes: that of asyncio reads into blocks of 256 KiB, which tear holes into the heap.
    uvloop.run(run())
