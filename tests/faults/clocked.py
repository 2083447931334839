"""An engine in a process of its own whose environment the test chooses: `python -m tests.faults.clocked URL LOG`."""

import sys
from pathlib import Path

from tests.faults.processes import Plan, run_worker

if __name__ == "__main__":
    run_worker(Plan(url=sys.argv[1], lease_s=1.0), Path(sys.argv[2]))
