"""More than there is room for: what is refused is told so, what is accepted is answered, in the time it always takes."""

import asyncio
import contextlib
import multiprocessing
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.chaos.edges import Program, Tags, Telegram
from tests.faults.chaos.ending import write_final
from tests.faults.chaos.processes import SLOW_S, ChaosPlan, run_engine, run_hub
from tests.faults.chaos.run import at_rest, write_plan
from tests.faults.checker import Broken, check
from tests.faults.fleet import Fleet
from tests.faults.history import History, Record, read_history
from tests.servers.redis import RedisServer, free_port

SLOTS = 6
CAPACITY_PER_S = SLOTS / SLOW_S
"""Each message takes the model SLOW_S, whatever else the machine does."""
BACKLOG = 30
CONVERSATIONS = 40
CHATS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What became of the messages of one rate."""

    load: float
    """Of the capacity."""
    offered: int
    accepted: int
    refused: int
    answered: int
    refused_without_time: int
    """Refusals that did not say when to come again."""
    waits_s: Sequence[float]
    """From acceptance to reply, sorted."""

    def wait_ms(self, share: float) -> float:
        """Return the time within which this share of what was accepted was answered."""
        return self.waits_s[min(len(self.waits_s) - 1, int(share * len(self.waits_s)))] * 1000


async def overload(
    folder: Path, loads: Sequence[float], seconds: float
) -> tuple[list[Phase], Sequence[Broken]]:
    """Offer each load for some seconds; returns what became of it, and the promises that were broken."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.faults.chaos.processes"])
    path, logs = folder / "history.jsonl", folder / "logs"
    logs.mkdir(parents=True)
    (folder / "redis").mkdir()
    tags, spans = Tags(History(path, "outside")), list[tuple[float, float, float]]()
    clock = asyncio.get_running_loop().time
    async with contextlib.AsyncExitStack() as opened:
        server = opened.enter_context(RedisServer(folder / "redis"))
        program = await opened.enter_async_context(Program(tags, random.Random(1)))
        telegram = await opened.enter_async_context(Telegram(tags))
        plan = ChaosPlan(
            url=server.url,
            hub_url=server.url,
            history=path,
            port=free_port(),
            concurrency=SLOTS,
            callback_url=program.callback_url,
            telegram_url=telegram.url,
            telegram_token=telegram.token,
            max_backlog=BACKLOG,
            lease_s=10.0,
        )
        program.hub_url = f"http://127.0.0.1:{plan.port}/api/v1/hooks/http"
        write_plan(tags.history, plan)
        main_hub: Any = run_hub
        main_engine: Any = run_engine
        opened.enter_context(Fleet(main_hub, plan, logs, size=1))
        opened.enter_context(Fleet(main_engine, plan, logs, size=1))
        await telegram.until(lambda: telegram.webhook, timeout_s=60)
        for load in loads:
            began = clock()
            await _offer(program, telegram, load * CAPACITY_PER_S, seconds)
            spans.append((load, began, clock()))
            await at_rest(server.url, telegram, ("http", "telegram"))
        await write_final(server.url, tags.history)
    records = read_history(path)
    return [_phase(records, *span) for span in spans], check(records)


async def _offer(program: Program, telegram: Telegram, per_s: float, seconds: float) -> None:
    """Begin messages at a rate, whatever becomes of the earlier ones; one in ten comes by Telegram."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as offers:
        for number in range(int(per_s * seconds)):
            await asyncio.sleep(began + number / per_s - loop.time())
            if number % 10 == 9:
                telegram.ask(501 + number % CHATS, "slow")
            else:
                offers.create_task(program.offer(f"c{number % CONVERSATIONS}", "slow"))


def _phase(records: Sequence[Record], load: float, began: float, ended: float) -> Phase:
    said = [record["tag"] for record in records if record["op"] == "say" and began <= record["t"] <= ended]
    told: dict[str, float] = {}
    refusals = []
    for record in records:
        if record["op"] == "told" and record["result"] == "ok":
            told.setdefault(record["tag"], record["t"])
        elif record["op"] == "told" and record["result"] == "refused":
            refusals.append(record)
    replied = {record["tag"]: record["t"] for record in records if record["op"] == "receive"}
    mine = set(said)
    waits = sorted(replied[tag] - told[tag] for tag in said if tag in told and tag in replied)
    return Phase(
        load=load,
        offered=len(said),
        accepted=sum(tag in told for tag in said),
        refused=len({record["tag"] for record in refusals} & mine - told.keys()),
        answered=len(waits),
        refused_without_time=sum(
            record["tag"] in mine and not record["retry_after_s"] for record in refusals
        ),
        waits_s=waits,
    )
