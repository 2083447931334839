"""How fast the hub's engine answers, beside llama.cpp's own server and llama-cpp-python's `Llama`, in one run.

python -m benchmarks.inference                               against `Llama`
python -m benchmarks.inference --llama-server PATH           against llama.cpp's server, too
python -m benchmarks.inference --short                       one load, few people, one round
python -m benchmarks.inference --parts ceiling,reuse,turns,agreement,waiting,drafts,clients

Loads: `short`, a short question; `rag`, a shared text of about 600 tokens and a question; `conv`, eight turns of a
growing conversation. Greedy, 64 new tokens each. The sides take turns, round after round; figures are medians.
"""

import argparse
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

import structlog
import uvloop

from benchmarks.generation import agreement, ceiling, clients, conversations, drafts, reuse, waiting
from benchmarks.generation.loads import LOADS, LoadName, load_named
from benchmarks.generation.sides import Side, hubbub, llama_class, llama_server
from benchmarks.generation.table import Cell, measure

PEOPLE = (1, 4, 16, 64, 128)
MOST_FOR_LLAMA = 16
"""`Llama` answers one after another: more people would only wait longer."""
CONTEXT_TOKENS = {"short": 256, "rag": 1024, "conv": 1024}
"""Prompt and answer of one person."""
PARTS = {
    "ceiling": ceiling.run,
    "reuse": reuse.run,
    "turns": conversations.run,
    "agreement": agreement.run,
    "waiting": waiting.run,
    "drafts": drafts.run,
    "clients": clients.run,
}


async def main() -> None:
    """Measure what was asked for and print it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asked = _arguments()
    parts = asked.parts.split(",")
    if "table" in parts:
        await table(
            asked.loads.split(","),
            [int(n) for n in asked.people.split(",")],
            asked.rounds,
            asked.llama_server,
        )
    for name, run in PARTS.items():
        if name in parts:
            print(f"\n== {name}")
            await run(short=asked.short)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--llama-server", type=Path, help="llama.cpp's server, of the same sources")
    parser.add_argument("--loads", default=",".join(LOADS))
    parser.add_argument("--people", default=",".join(map(str, PEOPLE)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", default=",".join(["table", *PARTS]))
    parser.add_argument("--short", action="store_true", help="a quick look")
    asked = parser.parse_args()
    if asked.short:
        asked.loads, asked.people, asked.rounds = "rag", "1,4", 1
    return asked


async def table(loads: Sequence[LoadName], people: Sequence[int], rounds: int, server: Path | None) -> None:
    """Print one line for each load, number of people and side."""
    print(
        f"{'load':6}{'people':>7}  {'side':13}{'tok/s':>8}{'first p50':>11}{'p95':>9}{'peak':>10}   hubbub against it"
    )
    for name in loads:
        for number in people:
            load = load_named(name, number)
            async with contextlib.AsyncExitStack() as opened:
                sides = await _open(opened, number, CONTEXT_TOKENS[name], server)
                cells = await measure(sides, load, number, rounds)
            for cell in cells:
                print(_line(cell, cells[0]), flush=True)


async def _open(
    opened: contextlib.AsyncExitStack, people: int, context_length: int, server: Path | None
) -> list[Side]:
    sides: list[Side] = [await opened.enter_async_context(hubbub(people, context_length))]
    if server:
        sides.append(await opened.enter_async_context(llama_server(server, people, context_length)))
    if people <= MOST_FOR_LLAMA:
        sides.append(await opened.enter_async_context(llama_class(context_length)))
    return sides


def _line(cell: Cell, ours: Cell) -> str:
    ratio = (
        ""
        if cell is ours
        else (
            f"   {ours.tokens_per_s / cell.tokens_per_s:.2f}x tok/s, {ours.first_p95_s / cell.first_p95_s:.2f}x p95, "
            f"{ours.peak_bytes / cell.peak_bytes:.2f}x memory"
        )
    )
    return (
        f"{cell.load:6}{cell.people:7}  {cell.side:13}{cell.tokens_per_s:8.1f}{cell.first_p50_s:10.2f}s"
        f"{cell.first_p95_s:8.2f}s{cell.peak_bytes / 2**20:7.0f}MiB{ratio}"
    )


if __name__ == "__main__":
    uvloop.run(main())
