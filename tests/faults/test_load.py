"""Overload and rolling restarts, with real connectors and engines as processes."""

import asyncio
import os
import re
import secrets
import sys
from pathlib import Path

from tests.faults.chaos.overload import BACKLOG


async def _run(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_overload_is_refused_in_sight_and_what_is_accepted_is_answered() -> None:
    """At three times the capacity: 503 with a time to come again by both channels, and nothing accepted is lost."""
    told = await _run("benchmarks.overload", "--short")

    rows = re.findall(r"([\d.]+)x +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)", told)
    half, triple = ([int(cell) for cell in row[1:]] for row in rows)
    assert half[2] == half[4] == 0, told
    offered, accepted, refused, answered, lost = triple
    assert refused > BACKLOG, told
    assert accepted > BACKLOG, told
    assert (answered, lost) == (accepted, 0), told
    assert offered == accepted + refused, told
    assert told.count("say when to come again: 0") == 2, told
    assert "all invariants hold" in told


async def test_rolling_restarts_of_every_role_lose_and_double_nothing(tmp_path: Path) -> None:
    """Hubs and engines are replaced under load, one by one, again and again: SIGTERM, and another takes its place."""
    seed = os.environ.get("FAULT_SEED") or str(secrets.randbits(32))
    told = await _run(
        *(
            "tests.faults.chaos",
            "--short",
            "--minutes",
            "0.12",
            "--seed",
            seed,
            "--faults",
            "hubs rolled,engines rolled",
        ),
        *("--folder", str(tmp_path / "run")),
    )

    counts = {
        name.strip(): int(number) for name, number in re.findall(r"^([a-z ]+?) +(\d+)$", told, re.MULTILINE)
    }
    assert "all 14 invariants hold" in told
    assert counts["ended as answer"] > 50, told
    assert counts["copies received"] == counts["unclear requests"] == counts["stale commits refused"] == 0, (
        told
    )
    assert "ended as error" not in counts, told
