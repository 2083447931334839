"""FastStream's side: a subscriber of Redis streams that answers every message, run by an environment of its own.

It imports nothing of the project: `python faststream_worker.py URL SHARDS NAME CONCURRENCY`.
"""

import asyncio
import signal
import sys
from typing import Any

from faststream import AckPolicy  # type: ignore[import-not-found]  # of another environment
from faststream.redis import RedisBroker, StreamSub  # type: ignore[import-not-found]  # of another environment


def make_broker(url: str, shards: int, name: str, concurrency: int) -> Any:
    """Return a broker with one subscriber for each stream."""
    broker = RedisBroker(url, logger=None)

    def subscribe(shard: int) -> None:
        stream = StreamSub(
            f"bench:{{{shard}}}:in",
            group="workers",
            consumer=name,
            max_records=concurrency,
            polling_interval=1000,
        )

        @broker.subscriber(stream=stream, max_workers=concurrency, ack_policy=AckPolicy.NACK_ON_ERROR)  # type: ignore[untyped-decorator]  # of another environment
        async def answer(message: dict[str, Any]) -> None:
            reply = {"number": message["number"], "text": message["text"]}
            await broker.publish(reply, stream=f"bench:{{{shard}}}:out")

    for shard in range(shards):
        subscribe(shard)
    return broker


async def main(url: str, shards: int, name: str, concurrency: int) -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    broker = make_broker(url, shards, name, concurrency)
    async with broker:
        await broker.start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
