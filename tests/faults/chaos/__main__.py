"""`make chaos`: run for a while, check, and tell; ARGS="--seed 7 --minutes 5 --faults 'redis killed,engine killed'"."""

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import structlog

from tests.faults.chaos.faults import FAULTS
from tests.faults.chaos.run import Options, Outcome, run
from tests.faults.checker import CHECKS


def tell(outcome: Outcome) -> None:
    """Print what happened, and what was broken."""
    for name, count in outcome.counts.items():
        sys.stdout.write(f"{name:24}{count:8}\n")
    sys.stdout.write(", ".join(f"{name} {count}" for name, count in sorted(outcome.faults.items())) + "\n")
    for each in outcome.broken:
        sys.stdout.write(f"{each.invariant} BROKEN ({CHECKS[each.invariant][0]}): {each.text}\n")
    for ended in outcome.ended:
        sys.stdout.write(f"BY ITSELF: {ended}\n")
    if not outcome.broken:
        sys.stdout.write(f"all {len(CHECKS)} invariants hold\n")


def options_of(words: list[str]) -> tuple[Options, Path | None]:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make chaos", description=(__doc__ or "").split(";")[0])
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="repeats the dice of a run")
    parser.add_argument("--minutes", type=float, help="3; with --short about a quarter")
    parser.add_argument("--short", action="store_true", help="each kind of fault once, half a minute in all")
    parser.add_argument("--faults", default=",".join(FAULTS), help="kinds to draw from; default: all")
    parser.add_argument("--folder", type=Path, help="keeps history, logs and data there; must be empty")
    given = parser.parse_args(words)
    faults = [name.strip() for name in given.faults.split(",") if name.strip()]
    if unknown := sorted(set(faults) - FAULTS.keys()):
        parser.error(f"no such fault: {', '.join(unknown)}; there are: {', '.join(FAULTS)}")
    if given.short:
        short = Options(seed=given.seed, faults=faults)
        return replace(short, seconds=given.minutes * 60) if given.minutes else short, given.folder
    # Longer than a command or a reader waits for its answer.
    long = Options(
        seed=given.seed,
        seconds=(given.minutes or 3) * 60,
        faults=faults,
        fault_every_s=2.0,
        lasting_s=8.0,
        people=8,
    )
    return long, given.folder


def main() -> int:
    """Run, tell, and return the exit code."""
    options, folder = options_of(sys.argv[1:])
    # Of this process, which plays the world outside; those of the hub write to files.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    sys.stdout.write(f"seed {options.seed}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as place:
        outcome = asyncio.run(run(options, folder or Path(place) / "run"))
        tell(outcome)
    return int(bool(outcome.broken or outcome.ended))


if __name__ == "__main__":
    sys.exit(main())
