"""What the HTTP API costs: `POST /api/v1/chat` by 100, 300 and 1,000 clients at once, against a bare handler of aiohttp.

python -m benchmarks.api               the whole table, about six minutes
python -m benchmarks.api --short       a quick look, about half a minute
python -m benchmarks.api --standard    a standard request alone, about a minute
"""

import argparse
import asyncio
import logging
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from benchmarks.serving.asking import Clients, Load
from benchmarks.serving.sides import Side, bare, hub
from benchmarks.serving.standard import measure_standard

RATE_PER_S = 50
GOAL_MS = 10.0
"""What the hub may add to a message at the median, under load."""
ASKED = 10
"""Standard requests for each round, at least."""
TO_MODEL = {"model": "general", "max_tokens": 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is asked."""

    clients: Sequence[int]
    per_client: int
    rounds: int
    seconds: float
    to_model: Sequence[int]
    standard: Sequence[int]
    """How many clients send standard requests at once."""


WHOLE = Plan(
    clients=(100, 300, 1000),
    per_client=4,
    rounds=3,
    seconds=20.0,
    to_model=(100, 300, 1000),
    standard=(1, 4, 16),
)
SHORT = Plan(clients=(100,), per_client=4, rounds=1, seconds=3.0, to_model=(10,), standard=(1,))


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one side."""

    load: Load
    memory_mb: float
    cpu_ms: float
    """What the server itself computed for one request."""


async def measure(plan: Plan, folder: Path) -> int:
    """Measure and print everything.

    Returns: how many requests went wrong.
    """
    failed = await measure_instant(plan, _made(folder, "instant"))
    async with hub(_made(folder, "model"), is_instant=False) as side:
        failed += await measure_standard(side, plan.standard, plan.rounds * ASKED)
        return failed + await measure_model(plan, side)


async def only_standard(plan: Plan, folder: Path) -> int:
    """Measure a standard request alone; returns how many went wrong."""
    async with hub(folder, is_instant=False) as side:
        return await measure_standard(side, plan.standard, plan.rounds * ASKED)


async def measure_instant(plan: Plan, folder: Path) -> int:
    """Let both sides answer in turns, so that a busy moment of the machine hits both."""
    rows: dict[tuple[int, str], list[Run]] = {}
    async with hub(folder, is_instant=True) as ours, bare() as theirs:
        sides = {"hub": ours, "bare aiohttp": theirs}
        for side in sides.values():
            await Clients(side.port, side.keys).at_once(20, 100)
        for _ in range(plan.rounds):
            for count in plan.clients:
                for name, side in sides.items():
                    requests, before_s = count * plan.per_client, side.cpu_s()
                    load = await Clients(side.port, side.keys).at_once(count, requests)
                    cpu_ms = (side.cpu_s() - before_s) * 1000 / requests
                    rows.setdefault((count, name), []).append(Run(load, side.memory_mb(), cpu_ms))
        steady = {
            name: await Clients(side.port, side.keys).every(RATE_PER_S, plan.seconds)
            for name, side in sides.items()
        }
        parts = await ours.parts_ms(int(RATE_PER_S * plan.seconds))
    _print_loads(plan.clients, rows)
    _print_steady(steady, parts)
    loads = [run.load for runs in rows.values() for run in runs] + list(steady.values())
    return sum(load.errors.total() for load in loads)


async def measure_model(plan: Plan, side: Side) -> int:
    """Let the bundled model answer; each client asks once."""
    failed = 0
    print(f"\nbundled model, {TO_MODEL['max_tokens']} tokens   answers/s   p50 s   p99 s  errors      MB")
    await Clients(side.port, side.keys, TO_MODEL).at_once(1, 2)
    for count in plan.to_model:
        load = await Clients(side.port, side.keys, TO_MODEL).at_once(count, count)
        failed += load.errors.total()
        _warn(load)
        print(
            f"  {count:5} at once {load.per_s:22.1f} {load.ms(0.5) / 1000:7.2f} {load.ms(0.99) / 1000:7.2f}"
            f" {load.errors.total():7} {side.memory_mb():7.0f}"
        )
    return failed


def _print_loads(clients: Sequence[int], rows: Mapping[tuple[int, str], Sequence[Run]]) -> None:
    print("instant model             answers/s  p50 ms  p99 ms  CPU ms  errors      MB")
    for count in clients:
        rates = {}
        for name in ("hub", "bare aiohttp"):
            runs = rows[count, name]
            rates[name] = _median(runs, lambda run: run.load.per_s)
            for run in runs:
                _warn(run.load)
            print(
                f"  {count:5} at once  {name:13} {rates[name]:6.0f}"
                f" {_median(runs, lambda run: run.load.ms(0.5)):7.1f}"
                f" {_median(runs, lambda run: run.load.ms(0.99)):7.1f}"
                f" {_median(runs, lambda run: run.cpu_ms):7.2f}"
                f" {sum(run.load.errors.total() for run in runs):7} {max(run.memory_mb for run in runs):7.0f}"
            )
        print(f"  {'':14} ratio {rates['hub'] / rates['bare aiohttp']:14.2f}")


def _print_steady(steady: Mapping[str, Load], parts: Mapping[str, float]) -> None:
    print(f"\n{RATE_PER_S} requests a second   p50 ms  p95 ms  p99 ms  errors")
    for name, load in steady.items():
        _warn(load)
        shown = " ".join(f"{load.ms(share):7.1f}" for share in (0.5, 0.95, 0.99))
        print(f"  {name:18} {shown} {load.errors.total():7}")
    added = steady["hub"].ms(0.5) - steady["bare aiohttp"].ms(0.5)
    print(f"  the hub adds {added:.1f} ms at the median; goal: {GOAL_MS:.0f} ms, {added / GOAL_MS:.2f} of it")
    rest = steady["hub"].ms(0.5) - sum(parts.values())
    told = ", ".join(f"{name} {value:.1f}" for name, value in parts.items())
    print(f"  where it goes, ms: {told}, HTTP with key, limit and storing {rest:.1f}")


def _made(folder: Path, name: str) -> Path:
    place = folder / name
    place.mkdir()
    return place


def _median(runs: Sequence[Run], value: Callable[[Run], float]) -> float:
    return statistics.median(value(run) for run in runs)


def _warn(load: Load) -> None:
    for error, count in load.errors.items():
        print(f"  {count} requests ended with: {error}")


def main() -> None:
    """Measure and print; errors are a failure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="100 clients, one round")
    parser.add_argument(
        "--standard", action="store_true", help="64 tokens of the bundled model, nothing else"
    )
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder:
        run = only_standard if options.standard else measure
        failed = asyncio.run(run(SHORT if options.short else WHOLE, Path(folder)))
    if failed:
        sys.exit(f"{failed} requests were not answered")


if __name__ == "__main__":
    main()
