"""What the guarantees of the ordered queue cost: messages a second from publish to reply, beside consumers without them.

The same messages go through the hub's queue, FastStream's subscriber of Redis streams and a bare consumer of redis-py,
by the same number of worker processes on the same Redis, and then guarantee by guarantee from the bare one to the hub.

python -m benchmarks.delivery            the whole tables, about five minutes
python -m benchmarks.delivery --short    a quick look, about half a minute

FastStream runs in an environment of its own, which is made in a temporary folder unless --faststream names its Python.
"""

import argparse
import asyncio
import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from redis import Redis

from benchmarks.connecting.processes import quantile
from benchmarks.delivering.streams import empty, open_bus, publisher, reply_streams
from hub.bus.bus import Bus
from hub.bus.connection import connect_reader
from hub.bus.keys import shard_of
from tests.servers.redis import RedisServer

IN_FLIGHT = 64
"""Messages under way at once."""
CONCURRENCY = 16
"""Messages that one worker has in hand."""
CONVERSATIONS = 200
TEXT = "x" * 600
TIMEOUT_S = 120.0
FASTSTREAM_WORKER = str(Path(__file__).parent / "delivering" / "faststream_worker.py")
"""Runs without the project's packages."""
_NUMBER = re.compile(rb'"number": ?(\d+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One way to deliver."""

    name: str
    publish: str
    """As `publisher` names it."""
    worker: str
    """As `benchmarks.delivering.worker` names it, or `faststream`."""


HUB = Side(name="hub", publish="hub", worker="hub")
FASTSTREAM = Side(name="FastStream", publish="plain", worker="faststream")
BARE = Side(name="bare redis-py", publish="plain", worker="bare")
DEDUPLICATED = Side(name="+ each key once", publish="deduplicated", worker="bare")
ORDERED = Side(name="+ order by a lock", publish="ordered", worker="ordered")


@dataclass(frozen=True, slots=True)
class Row:
    """One measured run."""

    per_s: float
    latencies_ms: Sequence[float]
    worker_us: float
    """Processor time of all workers for one message."""
    redis_us: float
    """That of Redis."""

    def quantile(self, share: float) -> float:
        """Return the latency that this share of the messages stays below."""
        return quantile(self.latencies_ms, share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run takes place."""

    url: str
    shards: int = 1
    replicas: int = 0
    faststream: Path


class Workers:
    """Worker processes of one side, of which more are started when they are wanted."""

    def __init__(self, side: Side, place: Place) -> None:
        self._side = side
        self._place = place
        self._running: list[asyncio.subprocess.Process] = []

    async def grow(self, count: int) -> None:
        """Run so many."""
        fresh = [await self._start(number) for number in range(len(self._running), count)]
        self._running += fresh
        for process in fresh:
            assert process.stdout
            async with asyncio.timeout(60):
                if (await process.stdout.readline()).strip() != b"ready":
                    raise SystemExit(f"a worker of {self._side.name} did not start")

    async def _start(self, number: int) -> asyncio.subprocess.Process:
        place = self._place
        arguments: tuple[str, ...] = (place.url, str(place.shards), f"worker-{number}", str(CONCURRENCY))
        command: tuple[str, ...] = (sys.executable, "-m", "benchmarks.delivering.worker", self._side.worker)
        if self._side.worker == "faststream":
            command = (str(place.faststream), FASTSTREAM_WORKER)
        else:
            arguments = (*arguments, str(place.replicas))
        return await asyncio.create_subprocess_exec(*command, *arguments, stdout=asyncio.subprocess.PIPE)

    def cpu_s(self) -> float:
        """Return the processor time that they have taken."""
        times = [psutil.Process(process.pid).cpu_times() for process in self._running]
        return sum(each.user + each.system for each in times)

    async def stop(self) -> None:
        """End them."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            await process.wait()


async def run(side: Side, place: Place, workers: Workers, *, count: int, first: int) -> Row:
    """Keep IN_FLIGHT messages under way until `count` are answered.

    Args:
        first: number of the first message; each number is used once.
    """
    bus = open_bus(place.url, place.shards, replicas=place.replicas if side is HUB else 0)
    publish = publisher(side.publish, bus)
    numbers = iter(range(first, first + count))
    waiting: dict[int, asyncio.Future[float]] = {}
    latencies: list[float] = []
    stop = asyncio.Event()

    async def flow() -> None:
        for number in numbers:
            lane = f"c{number % CONVERSATIONS}"
            shard = shard_of(lane, place.shards)
            waiting[number] = asyncio.get_running_loop().create_future()
            body = f'{{"number": {number}, "shard": {shard}, "lane": "{lane}", "text": "{TEXT}"}}'.encode()
            began = time.perf_counter()
            await publish(shard, number, lane, body)
            latencies.append((await waiting[number] - began) * 1000)

    reader: Any = connect_reader(place.url)
    ends = {
        stream: newest[0][0] if (newest := await reader.xrevrange(stream, count=1)) else b"0-0"
        for stream in reply_streams(side.publish, place.shards)
    }
    collecting = asyncio.create_task(_collect(reader, ends, waiting, stop))
    began, workers_s, redis_s = time.perf_counter(), workers.cpu_s(), await _redis_cpu_s(bus)
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(*(flow() for _ in range(IN_FLIGHT)))
    seconds = time.perf_counter() - began
    worker_us = (workers.cpu_s() - workers_s) / count * 1e6
    redis_us = (await _redis_cpu_s(bus) - redis_s) / count * 1e6
    stop.set()
    await collecting
    await bus.close()
    return Row(count / seconds, latencies, worker_us, redis_us)


async def _redis_cpu_s(bus: Bus) -> float:
    untyped: Any = bus.redis
    info = await untyped.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def _collect(
    reader: Any, last: dict[str, bytes], waiting: Mapping[int, "asyncio.Future[float]"], stop: asyncio.Event
) -> None:
    while not stop.is_set():
        for stream, entries in await reader.xread(last, count=1000, block=200) or []:
            for entry, fields in entries:
                last[stream.decode()] = entry
                found = _NUMBER.search(fields.get(b"__data__") or fields[b"body"])
                assert found
                future = waiting[int(found[1])]
                if not future.done():
                    future.set_result(time.perf_counter())
    await reader.aclose()


@contextlib.contextmanager
def redis_of(folder: Path, *, fsync: str, replicas: int = 0) -> Iterator[str]:
    """Run a server, and replicas that copy it; gives its URL."""
    with contextlib.ExitStack() as running:
        servers: list[RedisServer] = []
        for _ in range(1 + replicas):
            options = {"repl-diskless-sync-delay": "0"}
            if servers:
                options["replicaof"] = f"127.0.0.1 {servers[0].port}"
            server = RedisServer(Path(tempfile.mkdtemp(dir=folder)), appendfsync=fsync, options=options)
            servers.append(running.enter_context(server))
        client: Any = Redis(port=servers[0].port)
        for number in range(replicas):
            while client.info("replication").get(f"slave{number}", {}).get("state") != "online":
                time.sleep(0.05)
        client.close()
        yield servers[0].url


@contextlib.asynccontextmanager
async def workers_of(side: Side, place: Place) -> AsyncIterator[Workers]:
    """Give the workers of a side, which end with the block."""
    bus = open_bus(place.url, 1)
    await empty(bus.redis)
    await bus.close()
    workers = Workers(side, place)
    try:
        yield workers
    finally:
        await workers.stop()


async def by_workers(
    folder: Path, faststream: Path, *, workers: Sequence[int], shards: Sequence[int], count: int, rounds: int
) -> None:
    """Measure three sides by the number of workers, one after the other in every round, and print them."""
    rows: dict[tuple[int, int, str], list[Row]] = {}
    sides = (HUB, FASTSTREAM, BARE)
    for turn in range(rounds):
        for spread in shards:
            for side in sides if turn % 2 == 0 else sides[::-1]:
                with redis_of(folder, fsync="always") as url:
                    place = Place(url=url, shards=spread, faststream=faststream)
                    async with workers_of(side, place) as running:
                        for step, number in enumerate(workers):
                            await running.grow(number)
                            row = await run(side, place, running, count=count, first=(step + 1) * 1_000_000)
                            rows.setdefault((spread, number, side.name), []).append(row)
    print(
        f"{IN_FLIGHT} messages under way, appendfsync always; microseconds are processor time for one message"
    )
    print("shards workers                  messages/s   p50 ms   p99 ms   workers us   Redis us   hub : this")
    for spread in shards:
        for number in workers:
            hub = Medians.of(rows[spread, number, HUB.name])
            for side in sides:
                shown = Medians.of(rows[spread, number, side.name])
                ratio = hub.per_s / shown.per_s
                print(f"{spread:6} {number:7}  {side.name:16} {shown} {ratio:12.2f}")


async def by_guarantee(folder: Path, faststream: Path, *, workers: int, count: int, rounds: int) -> None:
    """Measure what each guarantee adds, and print it."""
    steps: Sequence[tuple[str, Side, str, int]] = (
        ("bare redis-py, everysec", BARE, "everysec", 0),
        ("+ each key once", DEDUPLICATED, "everysec", 0),
        ("+ order by a lock", ORDERED, "everysec", 0),
        ("+ leases, fences, limits (hub)", HUB, "everysec", 0),
        ("+ appendfsync always", HUB, "always", 0),
        ("+ a replica, not waited for", HUB, "always", -1),
        ("+ WAIT for the replica", HUB, "always", 1),
    )
    rows: dict[str, list[Row]] = {}
    for turn in range(rounds):
        for name, side, fsync, replicas in steps if turn % 2 == 0 else steps[::-1]:
            with redis_of(folder, fsync=fsync, replicas=abs(replicas)) as url:
                place = Place(url=url, replicas=max(0, replicas), faststream=faststream)
                async with workers_of(side, place) as running:
                    await running.grow(workers)
                    row = await run(side, place, running, count=count, first=1_000_000)
                    rows.setdefault(name, []).append(row)
    print(f"\n{workers} workers, one shard")
    print(f"{'':33} messages/s   p50 ms   p99 ms   workers us   Redis us   of bare   of the line above")
    bare = before = Medians.of(rows[steps[0][0]]).per_s
    for name, *_ in steps:
        shown = Medians.of(rows[name])
        print(f"{name:33} {shown} {shown.per_s / bare:9.2f} {shown.per_s / before:19.2f}")
        before = shown.per_s


@dataclass(frozen=True, slots=True)
class Medians:
    """Those of several rounds of one row."""

    per_s: float
    p50_ms: float
    p99_ms: float
    worker_us: float
    redis_us: float

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Medians":
        """Take them."""
        return cls(
            statistics.median(row.per_s for row in rows),
            statistics.median(row.quantile(0.5) for row in rows),
            statistics.median(row.quantile(0.99) for row in rows),
            statistics.median(row.worker_us for row in rows),
            statistics.median(row.redis_us for row in rows),
        )

    def __str__(self) -> str:
        """Return the columns that all tables have."""
        return (
            f"{self.per_s:10.0f} {self.p50_ms:8.1f} {self.p99_ms:8.1f} "
            f"{self.worker_us:12.0f} {self.redis_us:10.0f}"
        )


def faststream_python(given: Path | None, folder: Path) -> Path:
    """Return the Python of an environment with FastStream; it is made where none is given.

    Raises: SystemExit: there is no FastStream in it.
    """
    python = given
    if python is None:
        home = folder / "faststream"
        venv.create(home, with_pip=True)
        python = home / "bin" / "python"
        # With the parser in C, as the others have it.
        packages = ["faststream[redis]", "redis[hiredis]"]
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    if subprocess.run([python, "-c", "import faststream.redis, hiredis"], check=False).returncode:
        raise SystemExit(
            f"{python} needs faststream[redis] and hiredis; without --faststream they are installed"
        )
    return python


async def measure(folder: Path, faststream: Path, *, short: bool) -> None:
    """Measure and print both tables."""
    if short:
        await by_workers(folder, faststream, workers=(1, 2), shards=(1,), count=800, rounds=1)
        await by_guarantee(folder, faststream, workers=2, count=800, rounds=1)
        return
    await by_workers(folder, faststream, workers=(1, 2, 4, 8), shards=(1, 4), count=4000, rounds=3)
    await by_guarantee(folder, faststream, workers=2, count=4000, rounds=3)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="fewer messages, two workers, one round")
    parser.add_argument("--folder", type=Path, help="where Redis writes; default: a temporary folder")
    parser.add_argument("--faststream", type=Path, help="a Python with faststream[redis] and hiredis")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        python = faststream_python(options.faststream, folder)
        asyncio.run(measure(folder, python, short=options.short))


if __name__ == "__main__":
    main()
