"""A Redis that cannot write, has no memory left, answers late, or does not answer at all."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.bus.bus import Bus
from hub.bus.keys import Keys
from hub.errors import BusError
from tests.faults.engine import publish, running_engine
from tests.faults.fleet import NOTHING, message, opened_bus, replies, unfinished, until_committed
from tests.faults.processes import Plan, answer_to
from tests.servers.proxy import LossyProxy
from tests.servers.redis import RedisServer

OUTBOUND = Keys().stream("outbound:test")
DISK_BYTES = 1 << 20


@dataclass
class Disk:
    """A small disk, with a server on it."""

    server: RedisServer
    free: Callable[[], None]
    """Make room; where a limit stands for the disk it holds for the next start."""


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk]:
    """A file system of its own where that is allowed, else a limit on the size of the server's files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    server = RedisServer(folder, appendfsync=request.param)
    if os.geteuid() == 0 and _mounted(folder):
        ballast = folder / "ballast"
        ballast.write_bytes(b"\0" * DISK_BYTES * 3)
        try:
            with server:
                yield Disk(server, lambda: ballast.unlink(missing_ok=True))
        finally:
            subprocess.run(("umount", "--lazy", str(folder)), check=True)
        return

    def more() -> None:
        server.max_file_bytes = None
        server.lift_limit()

    server.max_file_bytes = DISK_BYTES
    with server:
        yield Disk(server, more)


def _mounted(folder: Path) -> bool:
    command = ("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES * 4}", "tmpfs", str(folder))
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


async def _fill(bus: Bus) -> dict[str, list[str]]:
    """Publish long messages until one is refused; returns what was accepted, by conversation."""
    accepted: dict[str, list[str]] = {}
    for number in range(10_000):
        conversation, text = f"c{number % 40}", f"{number} {'x' * 8000}"
        try:
            published = await bus.publish(message(conversation, text))
        except BusError:
            return accepted
        if published.status == "OK":
            accepted.setdefault(conversation, []).append(text)
    raise AssertionError("the disk never filled")


@pytest.mark.parametrize("disk", ["always", "everysec"], indirect=True)
async def test_a_full_disk_refuses_and_loses_nothing(disk: Disk) -> None:
    """What was accepted is answered once there is room again; what came meanwhile was refused in sight.

    With `always` Redis ends rather than promise what it cannot keep; its watch, or the operator's, starts it again.
    """
    async with opened_bus(Plan(url=disk.server.url)) as bus:
        accepted = await _fill(bus)
        assert accepted
        with pytest.raises(BusError):
            await bus.publish(message("late", "late"))

    disk.free()
    if disk.server.has_ended:
        disk.server.start()
    async with running_engine(Plan(url=disk.server.url, lease_s=0.5)) as bus:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(BusError):
                    if (await bus.publish(message("late", "late"))).status in ("OK", "DUPLICATE"):
                        break
                await asyncio.sleep(0.05)
        count = sum(map(len, accepted.values())) + 1
        await until_committed(bus.redis, OUTBOUND, count)
        committed = await replies(bus.redis)
        for conversation, texts in accepted.items():
            answered = [reply.text for reply in committed[conversation]]
            assert answered[: len(texts)] == [answer_to(text) for text in texts], conversation
        assert await unfinished(bus.redis) == NOTHING


async def test_full_memory_refuses_whole_messages_and_loses_none(tmp_path: Path) -> None:
    """A message is stored with all its keys or not at all, and a turn that cannot be committed is committed later."""
    with RedisServer(tmp_path) as server:
        async with running_engine(Plan(url=server.url, lease_s=0.5, max_attempts=1)) as bus:
            client: Any = bus.redis
            await publish(bus, "before", "slow 0.4", 1)
            used = (await client.info("memory"))["used_memory"]
            await client.config_set("maxmemory", used - 200_000)

            keys = await client.dbsize()
            with pytest.raises(BusError, match="maxmemory"):
                await bus.publish(message("new", 1))
            assert not await client.exists(Keys().lane("inbound", "new"), Keys().seen("new/1"))
            assert await client.dbsize() <= keys
            # Longer than the turn that runs: its commit comes while there is no room.
            await asyncio.sleep(0.6)
            await client.config_set("maxmemory", 0)
            await publish(bus, "new", 1)
            await until_committed(bus.redis, OUTBOUND, 3)

            committed = await replies(bus.redis)
            assert [reply.text for reply in committed["before"]] == [answer_to("slow 0.4"), answer_to("1")]
            assert [reply.kind for sent in committed.values() for reply in sent] == ["answer"] * 3
            assert await unfinished(bus.redis) == NOTHING


async def test_half_a_second_for_each_command_doubles_nothing(redis: Redis, proxy: LossyProxy) -> None:
    """Slow is not broken: no command is given up and repeated, no lease is lost, and each message is stored once."""
    await redis.config_resetstat()
    async with running_engine(Plan(url=proxy.url, lease_s=3)) as bus:
        proxy.delay_s = 0.5
        names = [f"c{number}" for number in range(6)]
        entries = await asyncio.gather(*(publish(bus, name, 0) for name in names))
        await until_committed(redis, OUTBOUND, 6)
        proxy.delay_s = 0.0

        assert len({entry for [entry] in entries}) == 6
        for name, sent in (await replies(redis)).items():
            assert [reply.text for reply in sent] == [answer_to("0")], name
        stats: Any = await redis.info("commandstats")
        # One publish for each, one enter or two, one commit; a storm of repetitions would show here.
        assert stats["cmdstat_evalsha"]["calls"] < 60
    assert await unfinished(redis) == NOTHING


async def test_a_cut_that_nobody_announces_is_noticed(redis: Redis, proxy: LossyProxy) -> None:
    """Half-open connections: neither side hears of the end. Reader and commands give up, and come back by new ones."""
    async with (
        running_engine(Plan(url=proxy.url, lease_s=1)) as bus,
        opened_bus(Plan(url=proxy.url)) as other,
    ):
        await publish(bus, "before", 0)
        await until_committed(redis, OUTBOUND, 1)

        # Whatever was open stays dead for ever: what is shown is the reader's time-out of 7 s, not the length of the cut.
        async with proxy.silent():
            await asyncio.sleep(0.1)
        # A process that has no old connection publishes; the engine has nothing but dead ones.
        await publish(other, "after", *range(3))
        await until_committed(redis, OUTBOUND, 4, within_s=30)

        assert [reply.text for reply in (await replies(redis))["after"]] == [
            answer_to(str(n)) for n in range(3)
        ]
    assert await unfinished(redis) == NOTHING
