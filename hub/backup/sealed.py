"""The file of a backup: a tar in gzip that any tar reads, and at its end a seal over every byte before it.

The seal is one more gzip stream, which holds nothing but a comment with the SHA-256 of all that stands before. gzip's own
checksum leaves out its header and the last bits of its data; the seal leaves out nothing, and a file that was cut off has none.
"""

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from hub.errors import HubError

CHUNK_BYTES = 1 << 20
COMPRESSION = 3
"""Embeddings and models hardly shrink whatever the effort; the rest does so at once."""
_LABEL = b"hubbub-backup sha256="
_HEAD = b"\x1f\x8b\x08\x10\x00\x00\x00\x00\x00\xff" + _LABEL
_TAIL = b"\x00" + b"\x03\x00" + bytes(8)
"""End of the comment, then an empty deflate block with its checksum and length. Source: RFC 1952, 2.3."""
SEAL_BYTES = len(_HEAD) + 64 + len(_TAIL)
_MAX_PARTS = 1_000_000
_DAMAGED = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RecursionError)
"""tarfile goes one step deeper for each header that only adds to the next one."""

Told = Callable[[int], None]
"""Is told how many more bytes were read or written."""


class BackupRefused(HubError):
    """A file is no whole backup, or not one that can be restored here; nothing was changed."""


class SealedWriter:
    """Writes parts one after the other, also into a pipe.

    Args:
        file: where to; it stays open.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._out = _Hashing(file)
        # No name and no time: the same content gives the same bytes.
        self._gzip = gzip.GzipFile("", "wb", COMPRESSION, self._out, mtime=0)
        self._tar = tarfile.open(  # noqa: SIM115 - closed by `close`
            mode="w|", fileobj=self._gzip, format=tarfile.PAX_FORMAT, bufsize=CHUNK_BYTES
        )

    def add(self, name: str, file: IO[bytes], size: int, told: Told = lambda _: None) -> str:
        """Write exactly `size` bytes of a file as one part; returns their SHA-256.

        Raises: OSError: it cannot be read or written, or is shorter.
        """
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        reader = _Counted(file, size, told)
        self._tar.addfile(info, reader)
        return reader.sha256.hexdigest()

    def add_bytes(self, name: str, content: bytes) -> str:
        """Write a small part."""
        return self.add(name, io.BytesIO(content), len(content))

    def close(self) -> None:
        """Write the end and the seal."""
        self._tar.close()
        self._gzip.close()
        digest = self._out.sha256.hexdigest().encode()
        self._out.file.write(_HEAD + digest + _TAIL)


class SealedReader:
    """Gives the parts of a file in the order they were written; its seal was looked at before.

    Args:
        path: of the file.
        told: hears of every byte of the seal's check.

    Raises: BackupRefused: it has no seal, or a byte of it has changed.
    """

    def __init__(self, path: Path, told: Told = lambda _: None) -> None:
        self._path = path
        self._size = check_seal(path, told)

    def parts(self) -> Iterator[tuple[str, int, IO[bytes]]]:
        """Give name, size and content of each part; the content is to be read before the next part is asked for.

        Raises: BackupRefused: a part is no plain file, comes twice, or its name leads out of where it belongs.
        """
        names = set[str]()
        try:
            with self._path.open("rb") as file, gzip.GzipFile(fileobj=file) as unpacked:
                source: Any = _Forward(unpacked)
                tar: Any = tarfile.open(mode="r:", fileobj=source)  # noqa: SIM115 - it holds nothing of its own
                while (info := tar.next()) is not None:
                    source.is_in_header = False
                    _check(info, names)
                    # tarfile keeps what it has seen.
                    tar.members = []
                    content = tar.extractfile(info)
                    assert content is not None
                    yield info.name, info.size, content
                    source.is_in_header = True
        except _DAMAGED as error:
            raise BackupRefused(f"{self._path.name} cannot be read: {error}") from error


def check_seal(path: Path, told: Told = lambda _: None) -> int:
    """Read a file to its end; returns its size in bytes.

    Raises: BackupRefused: it is no whole backup, to the byte.
    """
    try:
        size = path.stat().st_size
        digest = hashlib.sha256()
        with path.open("rb") as file:
            left = size - SEAL_BYTES
            while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
                digest.update(chunk)
                told(len(chunk))
                left -= len(chunk)
            seal = file.read(SEAL_BYTES + 1)
    except OSError as error:
        raise BackupRefused(f"{path} cannot be read: {error.strerror}") from error
    if seal != _HEAD + digest.hexdigest().encode() + _TAIL:
        is_sealed = len(seal) == SEAL_BYTES and seal.startswith(_HEAD)
        raise BackupRefused(
            f"{path.name} is damaged: it is not as it was written; take another copy of it"
            if is_sealed
            else f"{path.name} is no backup of a hub, or was cut off: its end is missing"
        )
    return size


def _check(info: tarfile.TarInfo, names: set[str]) -> None:
    name = info.name
    if not info.isreg() or info.issparse():
        raise BackupRefused(f"the backup holds {name[:100]!r}, which is no plain file")
    if not is_safe(name):
        raise BackupRefused(f"the backup holds the path {name[:100]!r}, which no hub writes")
    if name in names or len(names) >= _MAX_PARTS:
        raise BackupRefused(f"the backup holds {name[:100]!r} twice, or too many files")
    names.add(name)


def is_safe(name: str) -> bool:
    """Tell whether a path stays below where it is put, on every system."""
    if not name or "\\" in name or "\0" in name or len(name.encode("utf-8", "replace")) > 4000:
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


class _Hashing:
    """Passes on what is written, and computes its digest."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.file.write(data)
        return len(data)

    def flush(self) -> None:
        self.file.flush()


class _Counted:
    """Reads at most `size` bytes of a file that may be growing, and computes their digest."""

    def __init__(self, file: IO[bytes], size: int, told: Told) -> None:
        self._file = file
        self._left = size
        self._told = told
        self.sha256 = hashlib.sha256()

    def read(self, count: int = -1) -> bytes:
        wanted = self._left if count < 0 else min(count, self._left)
        data = self._file.read(wanted)
        self._left -= len(data)
        self.sha256.update(data)
        self._told(len(data))
        return data


class _Forward:
    """What tarfile needs of a file, forwards only; a header takes little memory, whatever it says of its length."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self._at = 0
        self.is_in_header = True

    def tell(self) -> int:
        return self._at

    def seek(self, at: int) -> int:
        if at < self._at:
            raise BackupRefused("the backup's parts are out of order")
        while self._at < at:
            if not (skipped := self._file.read(min(CHUNK_BYTES, at - self._at))):
                raise EOFError("it ends too soon")
            self._at += len(skipped)
        return at

    def read(self, count: int) -> bytes:
        if self.is_in_header and not 0 <= count <= CHUNK_BYTES:
            raise BackupRefused("the backup holds a header that no hub writes")
        data = self._file.read(count)
        self._at += len(data)
        return data


def sync(path: Path) -> None:
    """Have a file or folder written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
