"""The files of a data folder: which of them belong into a backup, and those that something may be writing just now."""

import contextlib
import fcntl
import os
import pwd
import secrets
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from hub.errors import HubError
from hub.interactions import LOCK_TIMEOUT_S, interaction_lock

LOG = "log.jsonl"
INDEX = "index"
MODELS = "models"
REDIS = "redis"
DATABASE = "hubbub.db"
HUB_LOCK = "hubbub.lock"
UNFINISHED = "restore-unfinished"
"""File that stands in a data folder while a restore changes it: no hub starts on it."""
ARCHIVE_PREFIX = "hubbub-backup-"
SPOOL_PREFIX = ".backup-"
STAGE_PREFIX = ".restore-"
PART_PREFIX = ".hubbub-backup-"
_LOCK = "in-use.lock"
MADE_ANEW = frozenset({REDIS, INDEX, LOG, UNFINISHED, DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"})
"""What other parts of a backup hold, each copied in its own way."""


class FolderNotOurs(HubError):
    """A data folder belongs to another user: the hub could not read what is written there."""


class FolderInUse(HubError):
    """A hub runs on the data folder."""


@dataclass(slots=True)
class Listed:
    """Files of a data folder."""

    files: list[Path] = field(default_factory=list)
    """Relative to it, sorted."""
    left_out: list[str] = field(default_factory=list)


def list_files(data: Path, *, with_models: bool, skipped: Collection[Path] = ()) -> Listed:
    """List what is copied as it is: models.json, learned adapters, and whatever else lies there.

    Links lead elsewhere and are left out, and so are models that were fetched, unless they are wanted.

    Args:
        skipped: files that are copied in another way, by their absolute paths.
    """
    found = Listed()
    for entry in sorted(data.iterdir()):
        name = entry.name
        if is_passing(name) or name in MADE_ANEW or entry in skipped:
            continue
        if name == MODELS and not with_models:
            found.left_out.append(f"{MODELS}/ (fetched models; --with-models takes them along)")
            continue
        _walk(data, entry, found)
    return found


def _walk(data: Path, path: Path, found: Listed) -> None:
    relative = path.relative_to(data)
    if path.is_symlink():
        found.left_out.append(f"{relative} (a link)")
    elif path.is_dir():
        for entry in sorted(path.iterdir()):
            if not is_lock(entry.name):
                _walk(data, entry, found)
    elif path.is_file():
        found.files.append(relative)


def is_lock(name: str) -> bool:
    """Tell whether a file only says that something is being done."""
    return name.endswith(".lock") or name in (".lock", ".locks")


def is_passing(name: str) -> bool:
    """Tell whether an entry of a data folder is of nobody's concern: locks, backups, and what a kill has left of one."""
    return is_lock(name) or name.startswith(
        (SPOOL_PREFIX, STAGE_PREFIX, PART_PREFIX, ARCHIVE_PREFIX, ".log-")
    )


def copy_log(data: Path, target: Path) -> bool:
    """Copy the interaction log while nobody writes to it; returns whether there is one.

    Raises: OSError: it cannot be read, or the copy cannot be written.
    """
    source = data / LOG
    if not source.is_file():
        return False
    try:
        with FileLock(interaction_lock(source), timeout=LOCK_TIMEOUT_S):
            shutil.copyfile(source, target)
    except Timeout as error:
        raise HubError(
            f"{LOG} is being written for more than {LOCK_TIMEOUT_S:.0f} s; please repeat"
        ) from error
    return True


def copy_index(data: Path, target: Path) -> list[Path]:
    """Take the files of the vector index that belong together; returns them, relative to `target`.

    Raises: OSError: they cannot be read.
    """
    source = data / INDEX
    if not source.is_dir():
        return []
    target.mkdir()
    # Whoever writes an index holds this lock; a link takes no time, and the file it leads to is never changed.
    with FileLock(source / ".lock", timeout=60):
        for path in sorted(source.iterdir()):
            if path.is_file() and not path.is_symlink() and not is_lock(path.name):
                _link_or_copy(path, target / path.name)
    return sorted(path.relative_to(target) for path in target.iterdir())


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def refuse_foreign_folder(data: Path) -> None:
    """Make sure that what is written into a data folder will be its hub's to read.

    Raises: FolderNotOurs: it belongs to another user.
    """
    owner = data.stat().st_uid
    if owner != os.geteuid():
        raise FolderNotOurs(
            f"the data folder {data} belongs to the user {name_of(owner)}; run this with `sudo -u {name_of(owner)}`"
        )


def name_of(user: int) -> str:
    """Return the name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"


@contextlib.contextmanager
def hub_lock(data: Path) -> Iterator[None]:
    """Hold the lock that a hub holds while it runs.

    Raises: FolderInUse: one runs.
    """
    with (data / HUB_LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FolderInUse(f"a hub is running on the data folder {data}; stop it first") from None
        yield


@contextlib.contextmanager
def own_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a folder for the time of the block; one that a kill has left is removed by the next.

    Raises: OSError: it cannot be made.
    """
    remove_left(parent, prefix)
    folder = parent / f"{prefix}{secrets.token_hex(6)}"
    folder.mkdir(mode=0o700)
    try:
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left(parent: Path, prefix: str) -> None:
    """Remove the folders and files of a prefix that no living process holds."""
    for path in parent.glob(f"{prefix}*"):
        marker = path / _LOCK if path.is_dir() else path
        try:
            with marker.open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass
        except OSError:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


class LeftOfBackups:
    """What killed backups and restores have left in a data folder; it holds what people said.

    An erasure and a backup never run at once, so that whatever lies there meanwhile is nobody's.
    """

    name = "unfinished_backups"

    def __init__(self, data: Path) -> None:
        self._data = data

    async def compact(self) -> None:
        """Remove it."""
        for prefix in (SPOOL_PREFIX, STAGE_PREFIX, PART_PREFIX):
            remove_left(self._data, prefix)
