"""What the channels cost, side by side with plain aiogram, aiohttp and aioimaplib programs that only store and forward.

python -m benchmarks.channels                   everything, some minutes
python -m benchmarks.channels --short           a quick look, about a minute
python -m benchmarks.channels --parts webhook   some of it: webhook, sockets, mail

It needs Dovecot for the mails.
"""

import argparse
import asyncio
import logging
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import structlog

from benchmarks.connecting import mail, sockets, webhook

PARTS = ("webhook", "sockets", "mail")
Row = TypeVar("Row")


async def rounds(
    measure: Callable[[Path], Awaitable[dict[str, Row]]], folder: Path, times: int
) -> dict[str, list[Row]]:
    """Measure both sides in turn, so that a busy moment of the machine hits both."""
    found: dict[str, list[Row]] = {}
    for number in range(times):
        for side, row in (await measure(folder / str(number))).items():
            found.setdefault(side, []).append(row)
    return found


def tell(name: str, unit: str, values: dict[str, list[float]]) -> None:
    """Print the medians of both sides, and their ratio."""
    hub, plain = statistics.median(values["hubbub"]), statistics.median(values["plain"])
    print(f"{name:42}{hub:10.1f}{plain:10.1f}  {unit:6} {hub / plain:6.2f}x", flush=True)


def values_of(rows: dict[str, list[Row]], value: Callable[[Row], float]) -> dict[str, list[float]]:
    """Take one figure of each run."""
    return {side: [value(row) for row in found] for side, found in rows.items()}


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="fewer messages and one round")
    parser.add_argument("--parts", default=",".join(PARTS))
    options = parser.parse_args()
    parts = set(options.parts.split(","))
    if unknown := parts - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    updates, pages, seconds, mails, times = (
        (1_000, 200, 5.0, 100, 1) if options.short else (5_000, 1_000, 20.0, 1_000, 5)
    )
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(f"{'':42}{'hubbub':>10}{'plain':>10}  unit    ratio")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if "webhook" in parts:
            took = await rounds(lambda at: webhook.measure(at, updates), folder / "webhook", times)
            tell("updates by webhook", "/s", values_of(took, lambda row: row.per_s))
            tell("  accepted within, p50", "ms", values_of(took, lambda row: row.p50_ms))
            tell("  accepted within, p99", "ms", values_of(took, lambda row: row.p99_ms))
        if "sockets" in parts:
            held = await rounds(lambda at: sockets.measure(at, pages, seconds), folder / "sockets", times)
            tell(f"{pages} open sockets, memory of each", "KiB", values_of(held, lambda row: row.kib_each))
            tell("  way of a piece of text, p50", "ms", values_of(held, lambda row: row.p50_ms))
            tell("  way of a piece of text, p99", "ms", values_of(held, lambda row: row.p99_ms))
        if "mail" in parts:
            caught_up = await rounds(lambda at: mail.measure(at, mails), folder / "mail", times)
            tell(f"{mails} waiting mails, stored within", "s", caught_up)


if __name__ == "__main__":
    asyncio.run(main())
