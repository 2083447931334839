"""Half the load that the hub can carry, for half an hour, with faults of every kind: what was answered, and what grows.

python -m benchmarks.soak                30 minutes; prints Markdown
python -m benchmarks.soak --minutes 2    a try
"""

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from tests.faults.chaos.run import Options, Outcome, run
from tests.faults.history import Record

PROBE_S = 8.0
PEOPLE = 10
FAULT_EVERY_S = 6.0
LASTING_S = 8.0
"""Longer than a command or a reader waits for its answer."""
LEAST_ANSWERED = 0.999
WARM_UP_S = 20.0
"""After which a process has loaded what it needs."""
Point = tuple[float, float]


async def capacity_per_s(folder: Path) -> float:
    """Measure how many messages are answered in a second when everybody writes as fast as they are answered."""
    options = Options(seed=1, seconds=PROBE_S, faults=(), people=40, pause_s=0.0)
    outcome = await run(options, folder)
    arrived: list[float] = [record["t"] for record in outcome.records if record["op"] == "receive"]
    # Without the beginning, in which connections are opened, and the end, in which the rest is worked off.
    span = [at for at in arrived if arrived[0] + 2 <= at <= arrived[0] + PROBE_S - 1]
    return len(span) / (span[-1] - span[0])


async def soak(minutes: float, seed: int, folder: Path) -> tuple[float, Outcome]:
    """Measure the capacity, then run at half of it."""
    capacity = await capacity_per_s(folder / "probe")
    options = Options(
        seed=seed,
        seconds=minutes * 60,
        people=PEOPLE,
        fault_every_s=FAULT_EVERY_S,
        lasting_s=LASTING_S,
        spared=1,
    )
    # The five chats write as often as the people.
    writers = PEOPLE + 5
    return capacity, await run(replace(options, pause_s=writers / (capacity / 2)), folder / "soak")


def ends_of(outcome: Outcome) -> tuple[list[str], list[str]]:
    """Tell what came of each accepted message, `answer`, `error` or `lost`; those sent to make a model fail are the second list."""
    ends = {turn["turn"]: turn["kind"] for turn in outcome.final["turns"]}
    rows = outcome.records
    turns = {row["tag"]: row["turn"] for row in rows if row["op"] == "publish" and row["turn"]}
    people = {row["tag"]: row["person"] for row in rows if row["op"] == "say"}
    erased = {row["person"] for row in rows if row["op"] == "erase"}
    accepted = {row["tag"] for row in rows if row["op"] == "told" and row["result"] == "ok"}
    # Other bots are heard and left alone; of those who were erased nothing may be left to count.
    automatic = {row["tag"] for row in rows if row["op"] == "say" and row["automatic"]}
    accepted = {tag for tag in accepted - automatic if people[tag] not in erased}
    kinds = {tag: ends.get(turns.get(tag, ""), "lost") for tag in accepted}
    provoking = {tag for tag in accepted if people[tag].startswith("bad")}
    return [kinds[tag] for tag in accepted - provoking], [kinds[tag] for tag in provoking]


def report(minutes: float, seed: int, capacity: float, outcome: Outcome) -> Iterator[str]:
    """Write the result as Markdown."""
    usual, provoking = ends_of(outcome)
    rows = outcome.records
    answered, explained, lost = (usual.count(kind) for kind in ("answer", "error", "lost"))
    counts, faults = outcome.counts, sum(outcome.faults.values())
    yield f"{minutes:g} minutes at half of {capacity:.0f} messages a second, seed {seed}, {faults} faults"
    yield f"of {len(outcome.faults)} kinds:"
    yield ""
    yield "| what | number |"
    yield "|---|---|"
    yield f"| messages accepted | {len(usual)} |"
    yield f"| answered | {answered} ({100 * answered / len(usual):.3f} %) |"
    yield f"| explained to their sender | {explained} |"
    yield f"| lost | {lost} |"
    yield f"| sent to make the model fail; explained | {len(provoking)} |"
    yield f"| requests to channels left without an answer | {counts['unclear requests']} |"
    yield f"| copies that arrived of these | {counts['copies received']} |"
    yield f"| commits of workers that had slept, refused | {counts['stale commits refused']} |"
    yield f"| processes that ended by themselves | {len(outcome.ended)} |"
    yield f"| promises broken | {len(outcome.broken)} |"
    yield ""
    yield from _growth(rows)
    yield ""
    yield "Faults: " + ", ".join(f"{name} {count}" for name, count in sorted(outcome.faults.items())) + "."
    yield from (f"\n**{each.invariant} broken:** {each.text}" for each in outcome.broken)
    yield from (f"\n**{ended}**" for ended in outcome.ended)


def _growth(rows: Sequence[Record]) -> Iterator[str]:
    """Tell how memory and handles of each role change with time, by the slope within each process's life."""
    points: defaultdict[tuple[str, str], defaultdict[str, list[Point]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in rows:
        for name, size in row["held"].items() if row["op"] == "sample" else ():
            what, _, process = name.partition(" ")
            if process:
                points[process.rpartition("-")[0] or process, what][process].append((row["t"], size))
    yield "| role | samples | memory, MiB | memory, MiB/h | handles | handles/h |"
    yield "|---|---|---|---|---|---|"
    for role in sorted({role for role, _ in points}):
        cells = []
        samples = 0
        for what, unit in (("memory", 1 << 20), ("handles", 1)):
            lives = [_settled(life) for life in points[role, what].values()]
            lives = [life for life in lives if len(life) > 2]
            samples = sum(map(len, lives))
            sizes = [size for life in lives for _, size in life]
            mean = sum(sizes) / len(sizes) / unit if sizes else 0.0
            cells += [f"{mean:.0f}", f"{_slope(lives) * 3600 / unit:+.1f}"]
        yield f"| {role} | {samples} | {' | '.join(cells)} |"


def _settled(life: list[Point]) -> list[Point]:
    return [point for point in life if point[0] >= life[0][0] + WARM_UP_S]


def _slope(lives: Sequence[Sequence[Point]]) -> float:
    """Fit one slope to several lines, each with a height of its own; per second."""
    covariance = variance = 0.0
    for life in lives:
        mean_t = sum(t for t, _ in life) / len(life)
        mean_size = sum(size for _, size in life) / len(life)
        covariance += sum((t - mean_t) * (size - mean_size) for t, size in life)
        variance += sum((t - mean_t) ** 2 for t, _ in life)
    return covariance / variance if variance else 0.0


def main() -> int:
    """Run, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--folder", type=Path, help="keeps histories, logs and data there; must be empty")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as place:
        capacity, outcome = asyncio.run(soak(options.minutes, options.seed, options.folder or Path(place)))
    for line in report(options.minutes, options.seed, capacity, outcome):
        print(line)
    usual, _ = ends_of(outcome)
    is_answered = usual.count("answer") >= LEAST_ANSWERED * len(usual) and "lost" not in usual
    return int(bool(outcome.broken or outcome.ended or not is_answered))


if __name__ == "__main__":
    sys.exit(main())
