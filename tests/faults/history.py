"""The history of a run: what was asked and answered at the edges and by the scripts, a line of JSON each.

Any number of processes write to one file. A line tells what was heard; where a process was killed before it heard
anything, there is none. Times are those of the machine's monotonic clock, which all its processes share.
"""

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]
"""`t`: seconds; `op`: what; `by`: the process that wrote it; everything else depends on `op`.

| op | fields |
|---|---|
| plan | `lease_s`, `max_attempts`, `max_backlog`, `max_lane`, `history_turns`, `bound_s`, `quota`, `caps`, `room` |
| say | `tag`, `conversation`, `person`, `automatic`: somebody outside writes |
| told | `tag`, `result` (ok, refused, unknown), `status`, `retry_after_s`: what they were told |
| publish | `tag`, `conversation`, `began`, `result` (OK, DUPLICATE, FULL, LANE_FULL, unknown), `turn`, `backlog`, `lane` |
| enter | `queue`, `lane`, `began`, `result` (RUN, BUSY, DONE, unknown), `head`, `fence`, `attempts` |
| commit | the same, `result` (RUN, IDLE, LeaseLost, TurnCancelled, unknown), `done`, `done_fence`, `died` |
| nack | `queue`, `lane`, `head`, `delay_s`: a head is about to be given back |
| begin, placed, refused | `reply`, `part`: a sender's request leaves, is confirmed, certainly did nothing |
| receive | `channel`, `destination`, `person`, `tag`, `kind`, `part`, `about`: the far side has a reply |
| fault | `kind`, `began`: a fault is over (`t`), or has been done; `declares` what it is allowed to do |
| ended | `process`, `code`: a process ended by itself, or because its model was told to crash |
| erase | `person`, `conversation`, `began`: somebody was erased; `left`: where words of them still stand |
| survey | `crashed`, `waiting`, `ended`: what Redis holds after it came back |
| sample | `held`: sizes by name |
| final | `turns`, `deliveries`, `dead`, `histories`, `unfinished`: what Redis holds in the end |
"""


class History:
    """Appends to the file of a run."""

    def __init__(self, path: Path, by: str) -> None:
        self._by = by
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, op: str, **fields: Any) -> None:
        """Add a line, in one write: lines of several processes do not mix."""
        record = {"t": time.monotonic(), "op": op, "by": self._by, **fields}
        os.write(self._file, json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_history(path: Path) -> list[Record]:
    """Read all lines in the order of their times."""
    return sorted_by_time(json.loads(line) for line in path.read_bytes().splitlines())


def sorted_by_time(records: Iterable[Record]) -> list[Record]:
    """Put records in the order of their times."""
    return sorted(records, key=lambda record: float(record["t"]))
