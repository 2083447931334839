"""How much memory models may take together, and how much one will take before it is loaded."""

import os
from collections.abc import Iterator
from pathlib import Path

from engine.models.llama.files import model_file
from hub.errors import ModelError
from hub.model_settings import GgufSettings, LocalModelSettings, ModelSettings, bytes_of

DEFAULT_SHARE = 0.75
"""Of the machine's memory; the rest is for Redis, the hub, the embedding model and the system."""
_MIB = 1 << 20
_OVERHEAD_BYTES = 256 * _MIB
"""What a process takes beside the weights of its model: libraries and context."""
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
_ROOT = Path("/sys/fs/cgroup")


def budget_bytes(setting: str) -> int:
    """Return the memory that loaded models may take together."""
    return bytes_of(setting) or int(machine_bytes() * DEFAULT_SHARE)


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


def estimated_bytes(name: str, settings: ModelSettings) -> int:
    """Tell about how much memory a model will take.

    Raises: ModelError: its file is missing.
    """
    if not isinstance(settings, LocalModelSettings):
        return 0
    path = model_file(settings) if isinstance(settings, GgufSettings) else _folder(settings)
    if not path.exists():
        raise ModelError(f"model {name} cannot be loaded: there is no file {path}")
    files = (path,) if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file()) + _OVERHEAD_BYTES


def _folder(settings: LocalModelSettings) -> Path:
    return Path(getattr(settings, "path", "")).expanduser()
