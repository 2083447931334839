"""Processes that are killed, frozen and started again, and the checks over what they left behind."""

import asyncio
import contextlib
import multiprocessing
import os
import random
import secrets
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import TracebackType
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub.bus.bus import Bus
from hub.bus.keys import Keys
from hub.errors import BusError
from hub.messages import Address, InboundMessage, OutboundMessage
from tests.faults.processes import Plan

# Forked from a server that has everything imported: a restart costs milliseconds, not the imports.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.faults.processes"])

Main = Callable[[Plan, Path], None]


def seeded(name: str) -> random.Random:
    """Return the dice of a run; FAULT_SEED repeats an earlier one."""
    seed = int(os.environ.get("FAULT_SEED") or secrets.randbits(32))
    sys.stderr.write(f"\n{name}: repeat with FAULT_SEED={seed}\n")
    return random.Random(seed)


class Fleet:
    """Some processes of one kind."""

    def __init__(self, main: Main, plan: Plan, folder: Path, *, size: int) -> None:
        self.plan = plan
        self._main = main
        self._folder = folder
        self._size = size
        self._started = 0
        self._names: dict[int, str] = {}
        # One process at a time is replaced, whichever thread does it.
        self._replacing = threading.Lock()
        self._ending: set[int] = set()
        self.processes: list[ForkServerProcess] = []

    def __enter__(self) -> "Fleet":
        self.processes = [self._start(index) for index in range(self._size)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.kill()
            process.join()

    def name_of(self, index: int) -> str:
        """Return the name of one, which is also that of its log."""
        return self._names[index]

    def _start(self, index: int) -> ForkServerProcess:
        self._started += 1
        self._names[index] = f"{self._main.__name__}-{self._started}"
        log = self._folder / f"{self._names[index]}.log"
        process = _processes.Process(target=self._main, args=(self.plan, log), daemon=True)
        process.start()
        return process

    def kill(self, index: int) -> None:
        """End one the hard way and start another in its place."""
        with self._replacing:
            self.processes[index].kill()
            self.processes[index].join()
            self.processes[index] = self._start(index)

    def restart_ended(self) -> list[tuple[str, int]]:
        """Start those again that have ended by themselves; returns their names and exit codes."""
        ended = []
        with self._replacing:
            for index, process in enumerate(self.processes):
                if process.exitcode is not None and index not in self._ending:
                    ended.append((self._names[index], process.exitcode))
                    self.processes[index] = self._start(index)
        return ended

    def signal(self, index: int, number: signal.Signals) -> None:
        """Send one a signal."""
        pid = self.processes[index].pid
        assert pid
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    async def freeze(self, index: int, for_s: float) -> None:
        """Stop one for a while."""
        process = self.processes[index]
        self.signal(index, signal.SIGSTOP)
        await asyncio.sleep(for_s)
        if process is self.processes[index]:
            self.signal(index, signal.SIGCONT)

    async def terminate(self, index: int, *, replace: bool = True) -> int:
        """Ask one to end, wait until it has, and start another; returns its exit code."""
        process = self.processes[index]
        self._ending.add(index)
        try:
            process.terminate()
            async with asyncio.timeout(90):
                while process.exitcode is None:
                    await asyncio.sleep(0.02)
            with self._replacing:
                # Somebody may have killed it meanwhile, and started another.
                if replace and process is self.processes[index]:
                    self.processes[index] = self._start(index)
        finally:
            self._ending.discard(index)
        return process.exitcode

    def logs(self) -> str:
        """Return what all of them have said."""
        return "\n".join(path.read_text("utf-8") for path in sorted(self._folder.glob("*.log")))


@contextlib.asynccontextmanager
async def opened_bus(plan: Plan) -> AsyncIterator[Bus]:
    """Open a bus and close it, however the test ends."""
    bus = plan.bus()
    try:
        yield bus
    finally:
        await bus.close()


def message(conversation: str, number: int | str) -> InboundMessage:
    """Make the message of a conversation with a number or word as its text."""
    address = Address(connector="test", account="a", chat=conversation, person=conversation)
    return InboundMessage(
        external_key=f"{conversation}/{number}", conversation=conversation, address=address, text=str(number)
    )


async def publish_all(bus: Bus, messages: list[InboundMessage], dice: random.Random, over_s: float) -> None:
    """Publish one conversation's messages in bursts; repeat each until it is accepted, some of them once more."""
    pauses = max(1, len(messages) // 4)
    for inbound in messages:
        while True:
            try:
                answer = await bus.publish(inbound)
            except BusError:
                await asyncio.sleep(0.05)
                continue
            if answer.status in ("OK", "DUPLICATE") and dice.random() < 0.9:
                break
        if dice.random() < 1 / 4:
            await asyncio.sleep(dice.uniform(0, 2 * over_s / pauses))


async def until_committed(redis: Redis, stream: str, count: int, *, within_s: float = 90) -> None:
    """Wait until a stream holds `count` entries; the server may be away for a while."""
    async with asyncio.timeout(within_s):
        while True:
            with suppress(RedisError, OSError):
                if await redis.xlen(stream) >= count:
                    return
            await asyncio.sleep(0.05)


async def replies(redis: Redis, connector: str = "test") -> Mapping[str, list[OutboundMessage]]:
    """Return every committed reply by conversation, in the order of their commits."""
    client: Any = redis
    by_conversation: defaultdict[str, list[OutboundMessage]] = defaultdict(list)
    for _, fields in await client.xrange(Keys().stream(f"outbound:{connector}")):
        reply = OutboundMessage.model_validate_json(fields[b"body"])
        by_conversation[reply.conversation].append(reply)
    return by_conversation


async def unfinished(redis: Redis, queue: str = "inbound") -> dict[str, int]:
    """Count what is left of a queue: entries, pending marks, lanes with heads, dead letters."""
    client: Any = redis
    stream = Keys().stream(queue)
    group = "engine" if queue == "inbound" else "senders"
    lanes = [key async for key in client.scan_iter(match=f"{Keys().lane(queue, '')}*", count=1000)]
    return {
        "entries": await client.xlen(stream),
        "pending": (await client.xpending(stream, group))["pending"],
        "lanes": len(lanes),
        "dead": await client.xlen(Keys().dead),
    }


NOTHING = {"entries": 0, "pending": 0, "lanes": 0, "dead": 0}
