"""Three times as much as the hub can answer, beside half of it: what is refused, what is lost, and how long the rest waits.

python -m benchmarks.overload            a minute
python -m benchmarks.overload --short    twenty seconds
"""

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

import structlog

from tests.faults.chaos.overload import BACKLOG, CAPACITY_PER_S, overload

LOADS = (0.5, 3.0)


async def main() -> int:
    """Measure, print, and return how many promises were broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="a few seconds for each load")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as place:
        phases, broken = await overload(Path(place) / "run", LOADS, 3.0 if options.short else 20.0)
    print(f"capacity {CAPACITY_PER_S:.0f} messages/s, room for {BACKLOG}")
    print("load  offered  accepted  refused  answered  lost  p50 ms  p95 ms  p99 ms")
    for phase in phases:
        waits = "  ".join(f"{phase.wait_ms(share):6.0f}" for share in (0.5, 0.95, 0.99))
        print(
            f"{phase.load:3.1f}x {phase.offered:8} {phase.accepted:9} {phase.refused:8} {phase.answered:9}"
            f" {phase.accepted - phase.answered:5}  {waits}"
        )
        print(f"      refusals that did not say when to come again: {phase.refused_without_time}")
    for each in broken:
        print(f"{each.invariant} BROKEN: {each.text}")
    if not broken:
        print("all invariants hold")
    return len(broken)


if __name__ == "__main__":
    sys.exit(bool(asyncio.run(main())))
