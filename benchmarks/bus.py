"""What the bus costs: messages through publish, engine, outbound stream and sender, with a model that answers at once.

python -m benchmarks.bus            the whole table, about two minutes
python -m benchmarks.bus --short    a quick look, about twenty seconds
"""

import argparse
import asyncio
import contextlib
import logging
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import structlog

from benchmarks.connecting.processes import quantile
from connectors.base import Progress, Publish
from connectors.runner import Sender
from engine.memory.conversation import ConversationMemory
from engine.turn import Answer, Recollection, TextSink, TurnStats
from engine.worker import Worker
from hub.bus.bus import Bus
from hub.bus.connection import connect_reader
from hub.bus.consumer import ConsumerOptions
from hub.bus.embedded import EmbeddedRedis, embedded_url
from hub.live import Live
from hub.messages import Address, InboundMessage, OutboundMessage
from hub.people import People
from hub.settings import BusSettings

Sync = Literal["always", "everysec"]
SYNCS: tuple[Sync, ...] = ("always", "everysec")
IN_FLIGHT = 32
"""Messages under way at once in the throughput runs."""
RATE_PER_S = 50
STEPS = ("write", "write", "write", "read", "write", "write", "write", "read", "write")
"""The round trips of one message: publish, read, enter, recollect, commit, read, enter, load, commit."""
STEPS_TO_SEND = 8
BODY = "x" * 700
"""About the size of a stored message."""


class InstantAssistant:
    """Answers without thinking."""

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message."""
        return Answer(kind="answer", text=message.text, stats=TurnStats())


@dataclass(slots=True)
class InstantConnector:
    """A channel that confirms at once and notes when it was asked to send."""

    name: str = "test"
    handed_over: dict[str, asyncio.Future[float]] = field(default_factory=dict)

    async def run(self, publish: Publish) -> None:
        """Take nothing in."""

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Note the time."""
        self.handed_over.pop(message.question).set_result(time.perf_counter())


@dataclass(frozen=True, slots=True)
class Row:
    """One measured run."""

    per_s: float
    latencies_ms: Sequence[float]

    def quantile(self, share: float) -> float:
        """Return the latency that this share of the messages stays below."""
        return quantile(self.latencies_ms, share)


@contextlib.asynccontextmanager
async def server(sync: Sync, folder: Path) -> AsyncIterator[str]:
    """Run the embedded Redis, as `hubbub up` does."""
    redis = EmbeddedRedis(BusSettings(appendfsync=sync), folder)
    await redis.start()
    try:
        yield embedded_url(folder)
    finally:
        await redis.stop()


@contextlib.asynccontextmanager
async def hub(url: str) -> AsyncIterator[tuple[Bus, InstantConnector]]:
    """Run engine and sender in this process."""
    bus, connector, stop = Bus(url, BusSettings()), InstantConnector(), asyncio.Event()
    live = Live(bus.redis, connect_reader(url))
    memory = ConversationMemory(bus, People(bus.redis), history_turns=200, recalled_turns=6)
    worker = Worker(bus, live, InstantAssistant(), memory=memory, turn_timeout_s=30)
    sender = Sender(bus, connector, give_up_s=60)
    options = ConsumerOptions(concurrency=16)
    consumers = bus.consumers("inbound", handle=worker.handle, bury=worker.bury, options=options)
    consumers += bus.consumers("outbound:test", handle=sender.deliver, bury=sender.bury, options=options)
    running = [asyncio.create_task(consumer.run(stop)) for consumer in consumers]
    try:
        yield bus, connector
    finally:
        stop.set()
        await asyncio.gather(*running)
        await bus.close()


async def through_hub(bus: Bus, connector: InstantConnector, number: int) -> float:
    """Send one message all the way; returns the time until its reply was handed to `send`, in ms."""
    key = str(number)
    handed_over: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    connector.handed_over[key] = handed_over
    conversation = f"c{number % 500}"
    address = Address(connector="test", account="a", chat=conversation, person=conversation)
    began = time.perf_counter()
    await bus.publish(InboundMessage(external_key=key, conversation=conversation, address=address, text=key))
    return (await handed_over - began) * 1000


async def bare(client: Any, number: int, steps: Sequence[str]) -> float:
    """Make the same number of round trips with redis-py alone; returns ms."""
    began = time.perf_counter()
    for step in steps:
        if step == "write":
            await client.set(f"bare:{number % 500}", BODY)
        else:
            await client.get(f"bare:{number % 500}")
    return (time.perf_counter() - began) * 1000


async def closed_loop(one: Callable[[int], Awaitable[float]], count: int) -> Row:
    """Keep IN_FLIGHT messages under way."""
    numbers = iter(range(count))
    latencies: list[float] = []

    async def flow() -> None:
        for number in numbers:
            latency = await one(number)
            latencies.append(latency)

    began = time.perf_counter()
    await asyncio.gather(*(flow() for _ in range(IN_FLIGHT)))
    return Row(count / (time.perf_counter() - began), latencies)


async def open_loop(one: Callable[[int], Awaitable[float]], seconds: float) -> Row:
    """Begin RATE_PER_S messages a second, whatever becomes of the earlier ones."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    tasks: list[asyncio.Task[float]] = []
    for number in range(int(seconds * RATE_PER_S)):
        await asyncio.sleep(began + number / RATE_PER_S - loop.time())
        tasks.append(asyncio.create_task(_one(one, 1_000_000 + number)))
    latencies = await asyncio.gather(*tasks)
    return Row(RATE_PER_S, latencies)


async def _one(one: Callable[[int], Awaitable[float]], number: int) -> float:
    return await one(number)


async def measure(folder: Path, count: int, seconds: float, rounds: int) -> None:
    """Measure all rows, interleaved so that a busy moment of the machine hits all of them."""
    rows: dict[tuple[str, Sync, str], list[Row]] = {}
    for turn in range(rounds):
        for sync in SYNCS:
            place = folder / f"{sync}{turn}"
            async with server(sync, place) as url, hub(url) as (bus, connector):

                async def hub_one(number: int, bus: Bus = bus, to: InstantConnector = connector) -> float:
                    return await through_hub(bus, to, number)

                async def bare_one(number: int, bus: Bus = bus) -> float:
                    return await bare(bus.redis, number, STEPS)

                async def bare_part(number: int, bus: Bus = bus) -> float:
                    return await bare(bus.redis, number, STEPS[:STEPS_TO_SEND])

                rows.setdefault(("rate", sync, "hub"), []).append(await closed_loop(hub_one, count))
                rows.setdefault(("rate", sync, "bare"), []).append(await closed_loop(bare_one, count))
                rows.setdefault(("added", sync, "hub"), []).append(await open_loop(hub_one, seconds))
                rows.setdefault(("added", sync, "bare"), []).append(await open_loop(bare_part, seconds))
    _print(rows)


def _print(rows: dict[tuple[str, Sync, str], list[Row]]) -> None:
    def median(what: str, sync: Sync, who: str, value: Callable[[Row], float]) -> float:
        return statistics.median(value(row) for row in rows[what, sync, who])

    print(f"{IN_FLIGHT} messages under way         messages/s   p50 ms   p99 ms")
    for sync in SYNCS:
        for who, name in (("hub", "hub"), ("bare", "bare redis-py")):
            values = [
                median("rate", sync, who, value)
                for value in (
                    lambda row: row.per_s,
                    lambda row: row.quantile(0.5),
                    lambda row: row.quantile(0.99),
                )
            ]
            print(f"  {sync:9} {name:16} {values[0]:12.0f} {values[1]:8.1f} {values[2]:8.1f}")
        ratio = median("rate", sync, "hub", lambda row: row.per_s) / median(
            "rate", sync, "bare", lambda row: row.per_s
        )
        print(f"  {sync:9} ratio {ratio:22.2f}")
    print(f"\n{RATE_PER_S} messages a second, publish to send    p50 ms   p95 ms   p99 ms")
    for sync in SYNCS:
        for who, name in (("hub", "hub"), ("bare", "bare redis-py")):
            values = [median("added", sync, who, lambda row, q=q: row.quantile(q)) for q in (0.5, 0.95, 0.99)]  # type: ignore[misc]
            print(f"  {sync:9} {name:24} {values[0]:8.1f} {values[1]:8.1f} {values[2]:8.1f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="fewer messages and one round")
    parser.add_argument("--folder", type=Path, help="where Redis writes; default: a temporary folder")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    count, seconds, rounds = (400, 3.0, 1) if options.short else (2000, 10.0, 3)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        asyncio.run(measure(Path(folder), count, seconds, rounds))


if __name__ == "__main__":
    main()
