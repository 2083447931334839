"""A short run of everything at once: people, connectors, engines, Redis, and every kind of fault among them."""

import asyncio
import os
import re
import secrets
import sys
from pathlib import Path

import pytest

from tests.faults.chaos.__main__ import options_of
from tests.faults.chaos.faults import FAULTS


async def test_every_promise_holds_while_everything_fails(tmp_path: Path) -> None:
    """I1 to I14; the same as `make chaos`, only shorter. The seed of a failure is in its output."""
    seed = os.environ.get("FAULT_SEED") or str(secrets.randbits(32))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.chaos", "--short"),
        *("--seed", seed, "--folder", str(tmp_path / "run")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    told = out.decode()

    assert process.returncode == 0, told
    assert "all 14 invariants hold" in told
    assert set(re.findall(r"([a-z]+(?: [a-z]+)*) \d+(?:,|$)", told, re.MULTILINE)) >= set(FAULTS), told
    answered = re.search(r"ended as answer +(\d+)", told)
    assert answered, told
    assert int(answered[1]) > 50
    # Some of them have a cap, which a program that answers every answer would go beyond.
    to_a_program = re.search(r"to a program +(\d+)", told)
    assert to_a_program, told
    assert int(to_a_program[1]) > 0, told


def test_the_command_takes_seed_minutes_and_faults(capsys: pytest.CaptureFixture[str]) -> None:
    """`make chaos ARGS=...`; an unknown fault is refused with those there are."""
    options, _ = options_of(["--seed", "7", "--minutes", "0.5", "--faults", "redis killed, junk"])
    assert (options.seed, options.seconds, list(options.faults)) == (7, 30.0, ["redis killed", "junk"])

    with pytest.raises(SystemExit):
        options_of(["--faults", "sunshine"])
    assert "no such fault: sunshine; there are: engine killed" in capsys.readouterr().err
