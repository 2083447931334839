"""How much memory this machine has, and how much of it is for models."""

import os
from collections.abc import Iterator
from pathlib import Path

from hub.model_settings import bytes_of

MODELS_SHARE = 0.75
"""Of the machine's memory; the rest is for Redis, the hub, the embedding model and the system."""
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
_ROOT = Path("/sys/fs/cgroup")


def budget_bytes(setting: str) -> int:
    """Return the memory that loaded models may take together."""
    return bytes_of(setting) or int(machine_bytes() * MODELS_SHARE)


def machine_bytes(groups: Path = _ROOT) -> int:
    """Return the memory of this machine, or what its container may take of it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *_container_limits(groups)])


def _container_limits(groups: Path) -> Iterator[int]:
    for name in _LIMITS:
        try:
            text = (groups / name).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text.isdecimal():
            yield int(text)
