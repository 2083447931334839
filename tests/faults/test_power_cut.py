"""The power goes: what Redis wrote and did not sync is gone, as it would be with the machine's memory."""

import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hub.bus.bus import Bus, parse_inbound
from hub.bus.keys import Keys
from hub.errors import BusError
from hub.settings import BusSettings
from tests.faults.engine import running_engine
from tests.faults.fleet import NOTHING, message, opened_bus, replies, unfinished
from tests.faults.processes import Plan, answer_to
from tests.servers.preloaded import compiled
from tests.servers.redis import RedisServer

CONVERSATIONS = 12
EVERYSEC_S = 2.0
"""What docs/delivery.md says may be lost with `bus.appendfsync = "everysec"`."""


class PowerCut:
    """A server whose machine loses its power."""

    def __init__(self, folder: Path, library: Path, appendfsync: str) -> None:
        self._data, self._log = folder / "data", folder / "synced"
        self._data.mkdir()
        self.server = RedisServer(
            self._data,
            appendfsync=appendfsync,
            environment={"LD_PRELOAD": str(library), "SYNC_LOG": str(self._log)},
        )

    def cut(self) -> int:
        """End the server and drop what is not safe; returns how many bytes that were."""
        self.server.kill()
        safe = {int(inode): int(size) for inode, size in self._lines()}
        dropped = 0
        for path in self._data.rglob("*.aof"):
            stat = path.stat()
            kept = min(safe.get(stat.st_ino, 0), stat.st_size)
            dropped += stat.st_size - kept
            with path.open("r+b") as file:
                file.truncate(kept)
        return dropped

    def _lines(self) -> Iterator[list[str]]:
        yield from (line.split() for line in self._log.read_text("ascii").splitlines())


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What notes which bytes are safe."""
    return compiled("synced", tmp_path_factory.mktemp("library"))


@pytest.fixture
def powered(library: Path) -> Iterator[Callable[[str], PowerCut]]:
    """Start a server with a setting of `appendfsync`.

    Its files lie in memory: what is tried is when Redis asks for a sync, and not how long this machine's disk, which
    others use as well, takes for it.
    """
    started: list[PowerCut] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:

        def start(appendfsync: str) -> PowerCut:
            power = PowerCut(Path(folder), library, appendfsync)
            power.server.start()
            started.append(power)
            return power

        yield start
        for power in started:
            power.server.kill()


@dataclass
class Writers:
    """Publish one message after the other in many conversations, and note when each was accepted."""

    bus: Bus
    numbers: Iterator[int]
    accepted: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    """By conversation: text and time, in the order of acceptance."""

    @property
    def count(self) -> int:
        """How many were accepted."""
        return sum(map(len, self.accepted.values()))

    async def run(self, stop: asyncio.Event) -> None:
        """Write until `stop` is set or Redis is gone."""
        names = [f"c{next(self.numbers)}" for _ in range(CONVERSATIONS)]
        await asyncio.gather(*(self._talk(name, stop) for name in names))

    async def _talk(self, conversation: str, stop: asyncio.Event) -> None:
        for turn in itertools.count():
            # No conversation becomes so long that it has to wait.
            part = f"{conversation}.{turn // 50}"
            text = str(next(self.numbers))
            try:
                published = await self.bus.publish(message(part, text))
            except BusError:
                # Whether it was stored nobody knows: whoever sent it sends it again, and so it is not missed here.
                return
            assert published.status == "OK"
            self.accepted.setdefault(part, []).append((text, time.monotonic()))
            await asyncio.sleep(0.01)
            if stop.is_set():
                return


async def _texts_waiting(bus: Bus) -> set[str]:
    client: Any = bus.redis
    entries = await client.xrange(Keys().stream("inbound"))
    return {parse_inbound(fields[b"body"]).text for _, fields in entries}


async def _cut_while_writing(
    power: PowerCut, seconds: float, numbers: Iterator[int]
) -> tuple[Writers, float]:
    """Write for a while and cut; returns what was accepted, and when the power went."""
    stop = asyncio.Event()
    async with opened_bus(Plan(url=power.server.url)) as bus:
        writers = Writers(bus, numbers)
        writing = asyncio.create_task(writers.run(stop))
        await asyncio.sleep(seconds)
        at = time.monotonic()
        dropped = await asyncio.to_thread(power.cut)
        stop.set()
        await writing
    sys.stderr.write(f"\n{writers.count} accepted, {dropped} bytes dropped\n")
    return writers, at


async def test_default_settings_lose_nothing(powered: Callable[[str], PowerCut]) -> None:
    """Three cuts in a row while people write and an engine answers; all is answered once, in order."""
    power = powered(BusSettings().appendfsync)
    expected: dict[str, list[str]] = {}
    numbers = itertools.count()
    for _ in range(3):
        async with running_engine(Plan(url=power.server.url, lease_s=0.5, max_attempts=1000)):
            writers, _ = await _cut_while_writing(power, 0.5, numbers)
            power.server.start()
        assert writers.count > CONVERSATIONS
        for conversation, noted in writers.accepted.items():
            expected.setdefault(conversation, []).extend(text for text, _ in noted)

    async with running_engine(Plan(url=power.server.url, lease_s=0.5, max_attempts=1000)) as bus:
        async with asyncio.timeout(60):
            while await unfinished(bus.redis) != NOTHING:
                await asyncio.sleep(0.05)
        committed = await replies(bus.redis)
    for conversation, texts in expected.items():
        answered = [reply.text for reply in committed[conversation]]
        # What was stored without being told so is answered, too.
        assert [text for text in answered if text in set(map(answer_to, texts))] == list(
            map(answer_to, texts)
        )
        assert len(answered) == len(set(answered))


async def test_everysec_loses_no_more_than_is_said(powered: Callable[[str], PowerCut]) -> None:
    """What is lost was accepted just before the cut, and what came before it is all there."""
    power = powered("everysec")
    writers, at = await _cut_while_writing(power, 2.6, itertools.count())
    power.server.start()

    async with opened_bus(Plan(url=power.server.url)) as bus:
        kept = await _texts_waiting(bus)
    times = dict(pair for noted in writers.accepted.values() for pair in noted)
    lost = sorted(times[text] for text in times.keys() - kept)
    lost_s = at - lost[0] if lost else 0.0
    sys.stderr.write(f"lost {len(lost)} of {len(times)}: those of the last {lost_s:.2f} s\n")
    assert lost_s <= EVERYSEC_S
    assert len(kept) > len(times) / 5
    # In each conversation the latest are gone, and none from the middle.
    for noted in writers.accepted.values():
        is_kept = [text in kept for text, _ in noted]
        assert is_kept == sorted(is_kept, reverse=True)


async def test_a_cut_drops_what_nobody_synced(powered: Callable[[str], PowerCut]) -> None:
    """The counter-test: a server that never syncs loses everything, so the others were put to the test."""
    power = powered("no")
    writers, _ = await _cut_while_writing(power, 0.4, itertools.count())
    power.server.start()

    async with opened_bus(Plan(url=power.server.url)) as bus:
        assert len(await _texts_waiting(bus)) < writers.count / 2
