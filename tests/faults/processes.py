"""What runs in the processes that the fault tests kill: real workers and senders, with a scripted assistant."""

import asyncio
import os
import random
import resource
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientError, ClientSession, UnixConnector, web

from connectors.base import Progress, Publish
from connectors.runner import Sender
from engine.memory.conversation import ConversationMemory
from engine.turn import Answer, Recollection, TextSink, TurnStats
from engine.worker import Worker
from hub.bus.bus import Bus
from hub.bus.connection import connect_reader
from hub.bus.consumer import Consumer, ConsumerOptions
from hub.bus.control import Control
from hub.bus.reader import StreamReader
from hub.errors import ModelError, RetryLater
from hub.live import Live
from hub.messages import InboundMessage, OutboundMessage
from hub.people import People
from hub.settings import BusSettings

PARTS = 2
"""Requests the fake channel needs for one reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a process is set up; leases are short so that a run fits into a minute."""

    url: str
    lease_s: float = 1.0
    max_attempts: int = 5
    concurrency: int = 4
    turn_timeout_s: float = 30.0
    drain_timeout_s: float = 5.0
    backoff_s: float = 0.05
    peer: str = ""
    """Unix socket of the peer that senders talk to."""
    shards: int = 1
    min_replicas: int = 0
    memory_bytes: int = 0
    """Address space a process may take; 0: any."""
    name: str = ""
    """What its consumers are called; empty: a name of their own, as always."""

    def bus(self) -> Bus:
        """Open the bus."""
        return Bus(
            self.url,
            BusSettings(
                lease_s=self.lease_s,
                max_attempts=self.max_attempts,
                shards=self.shards,
                min_replicas=self.min_replicas,
            ),
        )

    def options(self) -> ConsumerOptions:
        """Return the consumer's options; it looks for abandoned work often."""
        return ConsumerOptions(
            concurrency=self.concurrency,
            drain_timeout_s=self.drain_timeout_s,
            backoff_s=self.backoff_s,
            stale_every_s=0.3,
            orphans_every_s=0.6,
        )


class ScriptedAssistant:
    """Answers at once with a function of the message; some words make it misbehave."""

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message."""
        word, _, rest = message.text.partition(" ")
        match word:
            case "hang":
                await asyncio.Event().wait()
            case "abort":
                os._exit(139)
            case "fail":
                raise ModelError("the model failed")
            case "grow":
                bytearray(1 << 40)
            case "slow":
                await asyncio.sleep(float(rest.split()[0]))
            case _:
                await asyncio.sleep(random.uniform(0, 0.03))
        await text.add(answer_to(message.text))
        return Answer(kind="answer", text=answer_to(message.text), stats=TurnStats())


def answer_to(text: str) -> str:
    """Say what the scripted assistant answers."""
    return f"answer to {text}"


def make_worker(plan: Plan, bus: Bus) -> Worker:
    """Make an engine's worker."""
    return Worker(
        bus,
        Live(bus.redis, bus.redis),
        ScriptedAssistant(),
        memory=ConversationMemory(bus, People(bus.redis), history_turns=200, recalled_turns=6),
        turn_timeout_s=plan.turn_timeout_s,
    )


def make_consumers(plan: Plan, bus: Bus, worker: Worker | None = None) -> list[Consumer]:
    """Make an engine's consumers."""
    worker = worker or make_worker(plan, bus)
    if plan.name:
        return [named_consumer(plan, bus, worker)]
    return bus.consumers("inbound", handle=worker.handle, bury=worker.bury, options=plan.options())


def named_consumer(plan: Plan, bus: Bus, worker: Worker) -> Consumer:
    """Make a consumer whose name others may have as well, which the bus itself never does."""
    queue = bus.queue("inbound", 0)
    reader = StreamReader(queue, connect_reader(plan.url), plan.name)
    return Consumer(
        queue, reader, name=plan.name, handle=worker.handle, bury=worker.bury, options=plan.options()
    )


class PeerConnector:
    """A channel whose peer is another process and that needs several requests for one reply."""

    name = "test"

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def run(self, publish: Publish) -> None:
        """Take nothing in."""

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Send the parts that the peer has not confirmed."""
        for part in range(PARTS):
            if part in progress.placed_parts:
                continue
            await progress.begin(part)
            request = {"reply": message.text, "part": part, "to": message.conversation}
            try:
                async with self._session.post("http://peer/", json=request) as response:
                    remote_id = await response.text()
            except ClientError as error:
                raise RetryLater(0.1, f"the peer is away: {error}", unclear=True) from error
            await progress.placed(part, remote_id)


def run_worker(plan: Plan, log: Path) -> None:
    """Be an engine process."""

    async def work(bus: Bus, stop: asyncio.Event) -> None:
        worker = make_worker(plan, bus)
        control = Control(bus.redis, connect_reader(plan.url))
        control.listen(worker.obey)
        consumers = make_consumers(plan, bus, worker)
        await asyncio.gather(control.run(stop), *(consumer.run(stop) for consumer in consumers))

    run_process(plan, log, work)


def run_sender(plan: Plan, log: Path) -> None:
    """Be a process that sends the replies of the fake channel."""

    async def send(bus: Bus, stop: asyncio.Event) -> None:
        async with ClientSession(connector=UnixConnector(plan.peer)) as session:
            await send_replies(plan, bus, PeerConnector(session), stop)

    run_process(plan, log, send)


async def send_replies(plan: Plan, bus: Bus, connector: PeerConnector, stop: asyncio.Event) -> None:
    """Send what waits for the fake channel until the process is to end."""
    sender = Sender(bus, connector, give_up_s=3600)
    consumers = bus.consumers(
        "outbound:test", handle=sender.deliver, bury=sender.bury, options=plan.options()
    )
    await asyncio.gather(*(consumer.run(stop) for consumer in consumers))


def run_peer(plan: Plan, record: Path) -> None:
    """Be the peer: write every request down before it is answered."""

    async def take(request: web.Request) -> web.Response:
        told = await request.json()
        with record.open("a", encoding="utf-8") as file:
            file.write(f"{told['to']} {told['reply']} {told['part']}\n")
        # Long enough for kills to hit between the request and its answer.
        await asyncio.sleep(random.uniform(0, 0.02))
        return web.Response(text=f"remote {told['reply']} {told['part']}")

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/", take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.UnixSite(runner, plan.peer).start()
        await asyncio.Event().wait()

    asyncio.run(serve())


def run_process(plan: Plan, log: Path, main: Callable[[Bus, asyncio.Event], Awaitable[None]]) -> None:
    """Run a process until SIGTERM, with a bus of its own."""
    # What a killed process last said stays readable.
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)

    if plan.memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (plan.memory_bytes, plan.memory_bytes))

    async def run() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        bus = plan.bus()
        await main(bus, stop)
        await bus.close()

    asyncio.run(run())
