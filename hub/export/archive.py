"""The archive: a zip with one file of JSON lines for each kind of rows, and a manifest; written and read row by row."""

import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from hub.erasure.person import Person
from hub.erasure.stores import PersonalRecords
from hub.errors import HubError
from hub.messages import utc_now

FORMAT = 1
MANIFEST = "manifest.json"
MAX_ROW_BYTES = 4 << 20
"""Of one line, longer than anything the hub writes; a crafted archive cannot fill the memory with one."""
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILES = 1000
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError)
"""What reading a damaged zip may raise; an encrypted one is a RuntimeError."""

Step = Callable[[str, int], None]
"""Is told of every row: its kind, and how many of it there were."""


class ArchiveRefused(HubError):
    """A file is no archive of a hub, or is one that would do harm; nothing of it was read."""


class Manifest(BaseModel):
    """What an archive says of itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int
    version: str
    """Of the hub."""
    made_at: AwareDatetime
    scope: str
    """`person` or `everything`."""
    rows: Mapping[str, int] = Field(default_factory=dict)
    """By kind."""


async def write_archive(
    path: Path, sources: Sequence[PersonalRecords], person: Person | None, *, version: str, step: Step
) -> Manifest:
    """Write what is kept of a person, or everything; one row at a time is in memory.

    The file appears once it is whole, and only its owner may read it.

    Args:
        person: None: of everybody.

    Raises:
        HubError: a store cannot be read. OSError: the file cannot be written.
    """
    # A name that nobody can guess: where others may write, too, a link could stand under any other.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    beside = path.with_name(PurePosixPath(name).name)
    try:
        with os.fdopen(handle, "wb") as file:
            manifest = await write_zip(file, sources, person, version=version, step=step)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return manifest


async def write_zip(
    file: IO[bytes], sources: Sequence[PersonalRecords], person: Person | None, *, version: str, step: Step
) -> Manifest:
    """Write the same into a file that is open.

    Raises: HubError: a store cannot be read. OSError: the file cannot be written.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        rows = {source.name: await _write(archive, source, person, step) for source in sources}
        manifest = Manifest(
            format=FORMAT,
            version=version,
            made_at=utc_now(),
            scope="everything" if person is None else "person",
            rows=rows,
        )
        archive.writestr(MANIFEST, manifest.model_dump_json(indent=2))
    return manifest


async def _write(archive: zipfile.ZipFile, source: PersonalRecords, person: Person | None, step: Step) -> int:
    number = 0
    # Zip64 from the start: how much comes is not known before.
    with archive.open(f"{source.name}.jsonl", "w", force_zip64=True) as file:
        async for row in source.rows(person):
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            number += 1
            step(source.name, number)
    return number


class Archive:
    """An archive that was looked over before anything of it is read.

    Raises: ArchiveRefused: it is none, or a name, size or kind of a file in it is not what a hub writes.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (ValueError, *_DAMAGED) as error:
            raise ArchiveRefused(f"{path.name} is no zip archive: {error}") from error
        try:
            self._infos = {info.filename: _checked(info) for info in self._zip.infolist()[: MAX_FILES + 1]}
            if len(self._zip.infolist()) > MAX_FILES:
                raise ArchiveRefused(f"{path.name} holds more than {MAX_FILES} files")
            self.manifest = self._read_manifest()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    @property
    def kinds(self) -> list[str]:
        """Names of the kinds of rows it has, sorted."""
        return sorted(name.removesuffix(".jsonl") for name in self._infos if name != MANIFEST)

    def rows(self, kind: str) -> Iterator[dict[str, Any]]:
        """Give the rows of a kind; none where there are none.

        Raises: ArchiveRefused: a row is too long, damaged or no JSON object.
        """
        if (info := self._infos.get(f"{kind}.jsonl")) is None:
            return
        try:
            with self._zip.open(info) as file:
                number = 0
                while line := file.readline(MAX_ROW_BYTES + 1):
                    number += 1
                    yield read_row(line, f"{kind}, row {number}")
        except _DAMAGED as error:
            raise ArchiveRefused(f"{kind} cannot be read: {error}") from error

    def _read_manifest(self) -> Manifest:
        if (info := self._infos.get(MANIFEST)) is None or info.file_size > MAX_MANIFEST_BYTES:
            raise ArchiveRefused(f"the archive has no {MANIFEST}: it was not written by a hub")
        try:
            with self._zip.open(info) as file:
                manifest = Manifest.model_validate_json(file.read(MAX_MANIFEST_BYTES + 1))
        except (ValidationError, *_DAMAGED) as error:
            raise ArchiveRefused(f"{MANIFEST} cannot be read") from error
        if manifest.format > FORMAT:
            raise ArchiveRefused(
                f"the archive has format {manifest.format}, this hub reads {FORMAT}: it is older"
            )
        return manifest


def read_row(line: bytes, where: str) -> dict[str, Any]:
    """Read one line of JSON.

    Raises: ArchiveRefused: it is too long, or holds no object.
    """
    if len(line) > MAX_ROW_BYTES:
        raise ArchiveRefused(f"{where} is longer than {MAX_ROW_BYTES} bytes")
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ArchiveRefused(f"{where} is not valid JSON: {error}") from None
    if not isinstance(row, dict):
        raise ArchiveRefused(f"{where} is no JSON object")
    return row


def _checked(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Refuse what could lead out of the archive; nothing of it is ever unpacked to a path of its own choice."""
    name = info.filename
    path, mode = PurePosixPath(name), info.external_attr >> 16
    is_plain = len(path.parts) == 1 and not path.is_absolute() and ".." not in name and "\\" not in name
    if not is_plain or ":" in name or "\0" in name:
        raise ArchiveRefused(f"the archive holds the path {name[:100]!r}, which no hub writes")
    if stat.S_ISLNK(mode) or info.is_dir() or info.flag_bits & 0x1:
        raise ArchiveRefused(f"{name[:100]!r} in the archive is a link, a folder or encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Others may want any amount of memory before the first byte is out.
        raise ArchiveRefused(f"{name[:100]!r} in the archive is compressed as no hub does")
    if name != MANIFEST and not name.endswith(".jsonl"):
        raise ArchiveRefused(f"the archive holds {name[:100]!r}, which no hub writes")
    return info
