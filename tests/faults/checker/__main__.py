"""Check one history: `python -m tests.faults.checker FILE`; the exit code tells whether it is fine."""

import sys
from pathlib import Path

from tests.faults.checker import CHECKS, check
from tests.faults.history import read_history

if __name__ == "__main__":
    broken = check(read_history(Path(sys.argv[1])))
    for each in broken:
        sys.stdout.write(f"{each.invariant} broken ({CHECKS[each.invariant][0]}): {each.text}\n")
    sys.exit(bool(broken))
