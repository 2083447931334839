"""What tells two models apart whose names are the same: their settings and the files they are made of."""

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from engine.models.llama.files import model_file
from hub.model_settings import GgufSettings, LocalModelSettings, ModelSettings

_SAMPLE_BYTES = 65_536


def identity_of(name: str, settings: ModelSettings) -> str:
    """Digest a model's name, settings and files; another one answers as soon as any of them changes.

    Of each file its size, its time of change and its bytes at the beginning, middle and end count: the sum of a
    large file takes seconds, and this is asked for with every answer.
    """
    parts = [name, settings.model_dump_json(), *(_file_digest(path) for path in _files(settings))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _files(settings: ModelSettings) -> Iterator[Path]:
    if not isinstance(settings, LocalModelSettings):
        return
    roots = [Path(adapter.path).expanduser() for adapter in settings.adapters]
    if isinstance(settings, GgufSettings):
        roots.append(model_file(settings))
    elif path := getattr(settings, "path", ""):
        roots.append(Path(path).expanduser())
    for root in roots:
        if root.is_dir():
            yield from sorted(path for path in root.rglob("*") if path.is_file())
        else:
            yield root


def _file_digest(path: Path) -> str:
    try:
        status = path.stat()
        return _sampled(str(path), status.st_size, status.st_mtime_ns, status.st_ino)
    except OSError:
        # It cannot be loaded either; whoever loads it says so.
        return f"{path} is not there"


@lru_cache(maxsize=1024)
def _sampled(path: str, size_bytes: int, changed_ns: int, inode: int) -> str:
    digest = hashlib.sha256(f"{size_bytes}:{changed_ns}:{inode}".encode())
    with Path(path).open("rb") as file:
        for offset in (0, size_bytes // 2, max(0, size_bytes - _SAMPLE_BYTES)):
            file.seek(offset, os.SEEK_SET)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
