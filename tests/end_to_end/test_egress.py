"""No telemetry: a hub with all defaults talks to its own machine alone, whatever its libraries would like."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.closed_network import enclosed
from tests.settings_tree import ROOT

LOOPBACK = {"0100007F", "00000000", "0" * 24 + "01000000", "0" * 32, "0000000000000000FFFF00000100007F"}


def test_with_all_defaults_nothing_leaves_the_machine(tmp_path: Path) -> None:
    """Nor is it tried: the kernel counts no packet to anywhere, C libraries included, through start, question, document and restart."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HUBBUB_", "HF_", "DO_NOT_"))
    }
    command = enclosed([sys.executable, "-m", "tests.end_to_end.closed_hub", str(tmp_path)])

    done = subprocess.run(
        command,
        cwd=ROOT,
        env=clean | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout)
    assert all("twenty minutes" in answer for answer in told["answers"])
    assert told["counts"], "the kernel's counters tell nothing here"
    assert told["unroutable"] == 0, told["log"]
    assert set(told["peers"]) <= LOOPBACK
    assert told["egress"] == []
    assert "egress_refused" not in told["log"]
