"""One run: people write, faults happen, everything comes to rest, and the history is checked."""

import asyncio
import contextlib
import multiprocessing
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from redis.exceptions import RedisError

from hub.bus.connection import connect
from hub.bus.consumer import TURNS_IN_A_ROW
from hub.bus.keys import Keys
from hub.errors import HubError
from tests.faults.chaos.edges import Program, Tags, Telegram
from tests.faults.chaos.ending import CHANNELS, erase_person, write_final
from tests.faults.chaos.faults import FAULTS, Faults
from tests.faults.chaos.mail import MailProgram
from tests.faults.chaos.mailbox import CAP
from tests.faults.chaos.processes import HISTORY_TURNS, ChaosPlan, run_engine, run_hub
from tests.faults.checker import Broken, check
from tests.faults.fleet import Fleet, unfinished
from tests.faults.history import History, Record, read_history
from tests.servers.proxy import LossyProxy
from tests.servers.redis import RedisServer, free_port

MOST_OPEN = 8
"""Messages that somebody has written and not had answered before they wait."""
REST_S = 90.0
"""Within which everything has ended once nothing goes wrong any more."""
GONE = "pgone7f3a"
"""A person who is erased in the middle; no word of theirs may be left."""
CHATS = range(501, 506)
CRASHED = -signal.SIGABRT
BOTS_SHARE = 0.1
"""How often another bot writes in a chat, for each message of its person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run does."""

    seed: int
    seconds: float = 14.0
    """How long people write; longer where not every kind of fault has had its turn."""
    faults: Sequence[str] = tuple(FAULTS)
    """Empty: none."""
    fault_every_s: float = 0.6
    lasting_s: float = 1.5
    """How long faults last that take a while."""
    people: int = 6
    pause_s: float = 0.5
    """Mean time between two messages of a person."""
    spared: int = 0
    """So many processes of each kind are never killed or replaced, so that they can be watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a run."""

    records: Sequence[Record]
    broken: Sequence[Broken]
    history: Path

    @property
    def counts(self) -> dict[str, int]:
        """Count what happened."""
        of = Counter(record["op"] for record in self.records)
        ends = Counter(f"ended as {turn['kind']}" for turn in self.final["turns"])
        told = Counter(f"told {record['result']}" for record in self.records if record["op"] == "told")
        fenced = sum(
            record.get("result") == "LeaseLost" for record in self.records if record["op"] == "commit"
        )
        unclear = sum(delivery["unclear"] for delivery in self.final["deliveries"])
        arrived = [record["tag"] for record in self.records if record["op"] == "receive" and record["tag"]]
        return {
            "messages": of["say"],
            "replies received": of["receive"],
            "of these to a program": sum(
                record["channel"] == "email" for record in self.records if record["op"] == "receive"
            ),
            "faults": of["fault"],
            "copies received": len(arrived) - len(set(arrived)),
            "stale commits refused": fenced,
            "unclear requests": unclear,
            **dict(sorted(ends.items())),
            **dict(sorted(told.items())),
        }

    @property
    def ended(self) -> list[str]:
        """Name the processes that ended by themselves, but for those whose model was told to crash."""
        found = [record for record in self.records if record["op"] == "ended"]
        return [f"{each['process']} ended with {each['code']}" for each in found if each["code"] != CRASHED]

    @property
    def faults(self) -> Counter[str]:
        """Count the faults by kind."""
        return Counter(record["kind"] for record in self.records if record["op"] == "fault")

    @property
    def final(self) -> Record:
        """What Redis held in the end."""
        return next(record for record in reversed(self.records) if record["op"] == "final")


@dataclass(slots=True)
class _Stage:
    """What the tasks of a run share."""

    options: Options
    dice: random.Random
    tags: Tags
    program: Program
    telegram: Telegram
    faults: Faults
    over: asyncio.Event = field(default_factory=asyncio.Event)
    had_all: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once every kind of fault has begun."""

    async def person(self, name: str) -> None:
        """Write to the program's channel until the time is over."""
        while not self.over.is_set():
            if self.tags.open[name] < MOST_OPEN:
                await self.program.ask(name, name, self._verb())
            await self._pause()

    async def chat(self, chat: int) -> None:
        """Write on Telegram until the time is over."""
        while not self.over.is_set():
            if self.tags.open[str(chat)] < MOST_OPEN:
                self.telegram.ask(chat, self._verb())
            if self.dice.random() < BOTS_SHARE:
                self.telegram.bot_says(chat)
            await self._pause()

    async def flood(self) -> None:
        """Write more at once than one conversation may have waiting."""
        await asyncio.sleep(self.options.seconds / 3)
        await asyncio.gather(*(self.program.ask("flood", "flood") for _ in range(40)))

    async def leave(self, url: str) -> None:
        """Write for a while, and be erased."""
        until = time.monotonic() + self.options.seconds / 2
        while time.monotonic() < until:
            await self.program.ask(GONE, GONE)
            await self._pause()
        while True:
            try:
                return await erase_person(url, self.tags.history, GONE)
            except (HubError, RedisError, OSError):
                await asyncio.sleep(0.5)

    async def trouble(self) -> None:
        """Let faults happen, each kind about as often as the others, several at a time."""
        kinds = self.dice.sample(self.options.faults, len(self.options.faults))
        async with asyncio.TaskGroup() as under_way:
            while not self.over.is_set() and self.options.faults:
                under_way.create_task(self.faults.do(kinds.pop()))
                if not kinds:
                    self.had_all.set()
                    kinds = self.dice.sample(self.options.faults, len(self.options.faults))
                await self._wait(self.dice.uniform(0.5, 1.5) * self.options.fault_every_s)
        for proxy in self.faults.proxies:
            proxy.forget_losses()
        self.telegram.heal()

    async def guard(self) -> None:
        """Start again what ended by itself, and write it down."""
        while True:
            await asyncio.sleep(0.25)
            for fleet in self.faults.fleets:
                for name, code in await asyncio.to_thread(fleet.restart_ended):
                    self.tags.history.write("ended", process=name, code=code)

    async def measure(self, url: str) -> None:
        """Write down how much everything holds."""
        redis: Any = connect(url)
        while True:
            await asyncio.sleep(1.0)
            held: dict[str, int] = {}
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(5):
                    held["inbound"] = await redis.xlen(Keys().stream("inbound"))
            for name, pid in self._pids():
                with contextlib.suppress(psutil.Error):
                    process = psutil.Process(pid)
                    held[f"memory {name}"] = process.memory_info().rss
                    held[f"handles {name}"] = process.num_fds()
            self.tags.history.write("sample", held=held)

    def _pids(self) -> list[tuple[str, int]]:
        named = [
            (fleet.name_of(index), process.pid or 0)
            for fleet in self.faults.fleets
            for index, process in enumerate(fleet.processes)
        ]
        return [*named, ("redis", self.faults.server.pid)]

    def _verb(self) -> str:
        return self.dice.choices(("say", "slow"), (12, 1))[0]

    async def _pause(self) -> None:
        await self._wait(self.dice.uniform(0, 2) * self.options.pause_s)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.over.wait()


async def run(options: Options, folder: Path) -> Outcome:
    """Run and check.

    Raises: TimeoutError: it did not come to rest; the history is in the folder.
    """
    # Telegram's library takes seconds to import: once, and not at every restart.
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.faults.chaos.processes"])
    dice = random.Random(options.seed)
    path, logs = folder / "history.jsonl", folder / "logs"
    logs.mkdir(parents=True)
    (folder / "redis").mkdir()
    tags = Tags(History(path, "outside"))
    async with contextlib.AsyncExitStack() as opened:
        server = opened.enter_context(RedisServer(folder / "redis"))
        to_hubs = await opened.enter_async_context(LossyProxy(server.port).running())
        to_engines = await opened.enter_async_context(LossyProxy(server.port).running())
        program = await opened.enter_async_context(Program(tags, dice))
        telegram = await opened.enter_async_context(Telegram(tags))
        mail = await opened.enter_async_context(MailProgram(tags))
        plan = ChaosPlan(
            url=to_engines.url,
            hub_url=to_hubs.url,
            history=path,
            port=free_port(),
            concurrency=6,
            turn_timeout_s=0.8,
            drain_timeout_s=3.0,
            callback_url=program.callback_url,
            telegram_url=telegram.url,
            telegram_token=telegram.token,
            imap_port=mail.imap_port,
            smtp_port=mail.smtp_port,
        )
        program.hub_url = f"http://127.0.0.1:{plan.port}/api/v1/hooks/http"
        write_plan(tags.history, plan)
        main_hub: Any = run_hub
        main_engine: Any = run_engine
        hubs = opened.enter_context(Fleet(main_hub, plan, logs, size=2))
        engines = opened.enter_context(Fleet(main_engine, plan, logs, size=3))
        await telegram.until(lambda: telegram.webhook, timeout_s=60)
        faults = Faults(
            history=tags.history,
            dice=dice,
            server=server,
            proxies=(to_hubs, to_engines),
            fleets=(hubs, engines),
            far_side=(program, telegram),
            lasting_s=options.lasting_s,
            spared=options.spared,
        )
        stage = _Stage(options, dice, tags, program, telegram, faults)
        await _play(stage, server.url)
        await write_final(server.url, tags.history)
    records = read_history(path)
    return Outcome(records=records, broken=check(records), history=path)


async def _play(stage: _Stage, url: str) -> None:
    options = stage.options
    watching = [asyncio.create_task(stage.guard()), asyncio.create_task(stage.measure(url))]
    try:
        async with asyncio.TaskGroup() as playing:
            for number in range(options.people):
                playing.create_task(stage.person(f"p{number}"))
            for chat in CHATS:
                playing.create_task(stage.chat(chat))
            playing.create_task(stage.flood())
            playing.create_task(stage.leave(url))
            playing.create_task(stage.trouble())
            await asyncio.sleep(options.seconds)
            if options.faults:
                await stage.had_all.wait()
            stage.over.set()
        await at_rest(url, stage.telegram)
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    for fleet in stage.faults.fleets:
        for index in range(len(fleet.processes)):
            await fleet.terminate(index, replace=False)


async def at_rest(url: str, telegram: Telegram, channels: Sequence[str] = CHANNELS) -> None:
    """Wait until nothing waits any more, inside the hub with these channels and at Telegram's.

    Raises: TimeoutError: something still does.
    """
    redis = connect(url)
    queues = ("inbound", *(f"outbound:{channel}" for channel in channels))
    async with asyncio.timeout(REST_S):
        while True:
            with contextlib.suppress(RedisError, OSError):
                left = [await unfinished(redis, queue) for queue in queues]
                if not telegram.pending and not any(one["entries"] + one["lanes"] for one in left):
                    break
            await asyncio.sleep(0.1)
    await redis.aclose()


def write_plan(history: History, plan: ChaosPlan) -> None:
    """Write down what the run promises."""
    history.write(
        "plan",
        lease_s=plan.lease_s,
        max_attempts=plan.max_attempts,
        max_backlog=plan.max_backlog,
        max_lane=plan.max_lane,
        history_turns=HISTORY_TURNS,
        # A lease, the look for what is stale, and a hanging turn's time with its pauses.
        bound_s=plan.lease_s + 5 + plan.turn_timeout_s,
        quota=2 * TURNS_IN_A_ROW,
        caps={"email": CAP} if plan.imap_port else {},
        room={"inbound": plan.max_backlog},
    )
