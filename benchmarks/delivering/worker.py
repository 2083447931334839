"""A worker process of one side: the hub's consumer, a bare one, and one that keeps order by a lock and no more.

python -m benchmarks.delivering.worker SIDE URL SHARDS NAME CONCURRENCY REPLICAS
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
import redis.exceptions
import structlog

from benchmarks.delivering.streams import ENTER, FINISH, HUB_REPLIES, Names
from hub.bus.bus import Bus
from hub.bus.connection import connect, connect_reader
from hub.bus.consumer import ConsumerOptions
from hub.bus.effects import publish_effect
from hub.bus.keys import Keys
from hub.bus.queue import Commit, Lease
from hub.settings import BusSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker is to do."""

    url: str
    shards: int
    name: str
    concurrency: int
    """Messages in hand at once."""
    replicas: int
    """That must have what the hub commits."""


def reply_to(body: bytes) -> bytes:
    """Answer a message; the work that all sides do."""
    message = orjson.loads(body)
    return orjson.dumps({"number": message["number"], "text": message["text"]})


async def run_hub(job: Job, stop: asyncio.Event) -> None:
    """Work as the engine does: leases, fences, one commit for the reply and the acknowledgement."""
    bus = Bus(job.url, BusSettings(shards=job.shards, min_replicas=job.replicas))

    async def handle(lease: Lease) -> Commit:
        shard = int(orjson.loads(lease.body)["shard"])
        return Commit(effects=(publish_effect(Keys(shard), HUB_REPLIES, lease.lane, reply_to(lease.body)),))

    async def bury(lease: Lease) -> Commit:
        return Commit(dead_letter="every attempt failed")

    options = ConsumerOptions(concurrency=job.concurrency)
    consumers = bus.consumers("inbound", handle=handle, bury=bury, options=options)
    _tell_ready()
    await asyncio.gather(*(consumer.run(stop) for consumer in consumers))
    await bus.close()


async def run_bare(job: Job, stop: asyncio.Event) -> None:
    """Read, answer and acknowledge with redis-py: a reply and its acknowledgement are two writes in one round trip."""
    client: Any = connect(job.url)

    async def work(shard: int, entry: bytes, body: bytes) -> None:
        names = Names(shard)
        pipe = client.pipeline(transaction=False)
        pipe.xadd(names.replies, {"__data__": reply_to(body)})
        pipe.xack(names.inbound, "workers", entry)
        pipe.xdel(names.inbound, entry)
        await pipe.execute()

    await _read(job, stop, work)
    await client.aclose()


async def run_ordered(job: Job, stop: asyncio.Event) -> None:
    """Keep the order of each conversation by a lock of it, without a fence and without a lease that runs out."""
    client: Any = connect(job.url)
    enter, finish = client.register_script(ENTER), client.register_script(FINISH)

    async def work(shard: int, entry: bytes, body: bytes) -> None:
        names = Names(shard)
        lane = orjson.loads(body)["lane"]
        keys = [names.inbound, names.lane(lane), names.lock(lane), names.replies]
        head = await enter(keys=keys, args=[job.name, entry])
        while head:
            head = await finish(keys=keys, args=["workers", head[0], reply_to(head[1])])

    await _read(job, stop, work)
    await client.aclose()


async def _read(
    job: Job,
    stop: asyncio.Event,
    work: Callable[[int, bytes, bytes], Awaitable[None]],
) -> None:
    readers: list[Any] = [connect_reader(job.url) for _ in range(job.shards)]
    for shard in range(job.shards):
        try:
            await readers[shard].xgroup_create(Names(shard).inbound, "workers", id="0", mkstream=True)
        except redis.exceptions.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
    _tell_ready()

    async def read(shard: int) -> None:
        slots, running = asyncio.Semaphore(job.concurrency), set[asyncio.Task[None]]()

        async def one(entry: bytes, body: bytes) -> None:
            try:
                await work(shard, entry, body)
            finally:
                slots.release()

        while not stop.is_set():
            await slots.acquire()
            slots.release()
            free = max(1, job.concurrency - len(running))
            answer = await readers[shard].xreadgroup(
                "workers", job.name, {Names(shard).inbound: ">"}, count=free, block=1000
            )
            for entry, fields in answer[0][1] if answer else []:
                await slots.acquire()
                task = asyncio.create_task(one(entry, fields[b"__data__"]))
                running.add(task)
                task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    await asyncio.gather(*(read(shard) for shard in range(job.shards)))
    for reader in readers:
        await reader.aclose()


def _tell_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


SIDES: dict[str, Callable[[Job, asyncio.Event], Awaitable[None]]] = {
    "hub": run_hub,
    "bare": run_bare,
    "ordered": run_ordered,
}


async def main(side: str, job: Job) -> None:
    """Work until SIGTERM."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await SIDES[side](job, stop)


if __name__ == "__main__":
    url, shards, name, concurrency, replicas = sys.argv[2:]
    work = Job(url=url, shards=int(shards), name=name, concurrency=int(concurrency), replicas=int(replicas))
    asyncio.run(main(sys.argv[1], work))
