"""What was fetched into a folder, with its sums: a file beside it, read again by `verify`."""

import os
import tempfile
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from hub.messages import utc_now

LEDGER = ".fetched.json"


class FetchedFile(BaseModel):
    """A file that was fetched."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    size_bytes: int
    sha256: str
    commit: str
    fetched_at: AwareDatetime = Field(default_factory=utc_now)


class Ledger(BaseModel):
    """The files of one repository's folder."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    endpoint: str = ""
    repo: str = ""
    files: dict[str, FetchedFile] = {}
    """By path in the folder."""


def read_ledger(folder: Path) -> Ledger:
    """Return what is recorded of a folder; nothing where no record can be read."""
    try:
        return Ledger.model_validate_json((folder / LEDGER).read_bytes())
    except (OSError, ValidationError):
        return Ledger()


def ledger_above(path: Path, models: Path) -> tuple[Path, Ledger]:
    """Find the record that a file or folder belongs to: its own folder's, or one further up."""
    for folder in (path, *path.parents):
        if not folder.is_relative_to(models):
            break
        if (folder / LEDGER).is_file():
            return folder, read_ledger(folder)
    return path, Ledger()


def write_ledger(folder: Path, ledger: Ledger) -> None:
    """Replace the record of a folder."""
    write_atomically(folder / LEDGER, ledger.model_dump_json(indent=1).encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that it is seen either as it was or as it will be, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
