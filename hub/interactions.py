"""The file `log.jsonl`: where it is locked, so that what is written and what is erased never cross."""

from pathlib import Path

LOCK_TIMEOUT_S = 30.0


def interaction_lock(log: Path) -> Path:
    """Return the file whose lock is held by whoever writes to an interaction log, in any process."""
    return log.with_name(f"{log.name}.lock")
