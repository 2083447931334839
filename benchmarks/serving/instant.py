"""An engine whose model answers at once: what is left of a request's time is the hub's own.

python -m benchmarks.serving.instant REDIS
"""

import asyncio
import logging
import sys

import structlog
import uvloop

from benchmarks.bus import InstantAssistant
from engine.memory.conversation import ConversationMemory
from engine.worker import Worker
from hub.bus.bus import Bus
from hub.bus.connection import connect_reader
from hub.bus.consumer import ConsumerOptions
from hub.bus.heartbeat import beat
from hub.live import Live
from hub.people import People
from hub.settings import BusSettings, EngineSettings


async def main() -> None:
    """Answer until the process is ended."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    bus = Bus(sys.argv[1], BusSettings())
    stop, live = asyncio.Event(), Live(bus.redis, connect_reader(bus.url))
    memory = ConversationMemory(bus, People(bus.redis), history_turns=200, recalled_turns=6)
    worker = Worker(bus, live, InstantAssistant(), memory=memory, turn_timeout_s=30)
    options = ConsumerOptions(concurrency=EngineSettings().concurrency)
    async with asyncio.TaskGroup() as tasks:
        for consumer in bus.consumers("inbound", handle=worker.handle, bury=worker.bury, options=options):
            tasks.create_task(consumer.run(stop))
        tasks.create_task(beat(bus.redis, "engine", stop))


if __name__ == "__main__":
    uvloop.run(main())
