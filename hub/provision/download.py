"""One file from a hub onto the disk: resumed where it broke off, and in its place only once its sum is right."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
import structlog

from hub.errors import ProvisionError
from hub.provision.repository import Listing, PassingFailure, RepoFile, Repository

log = structlog.get_logger(__name__)

CHUNK_BYTES = 1 << 20
ENOUGH_BYTES = 1 << 20
"""An attempt that brought so much is no failed one, however it ended."""

_PART = ".part"

Report = Callable[[int], None]
"""Told how many bytes of the file are there."""


class Download:
    """Fetches one file; what is there of it after a failure is taken up by the next one.

    Args:
        repository: where it is.
        listing: the commit it is of.
        file: with its sum, which the hub told apart from its bytes.
        target: where it goes.
        report: told of every step.
    """

    def __init__(
        self, repository: Repository, listing: Listing, file: RepoFile, target: Path, report: Report
    ) -> None:
        self._repository = repository
        self._listing = listing
        self._file = file
        self._target = target
        self._report = report
        self.part = part_of(target, file)
        self._size = 0
        self._sum = _new_sum(file)

    async def run(self) -> str:
        """Fetch the file.

        Returns: its SHA-256.
        Raises: ProvisionError: it cannot be had, or what came is not what the hub announced and is gone again.
        """
        with await asyncio.to_thread(self._open) as part:
            await self._take_up(part)
            await self._fetch(part)
            await asyncio.to_thread(_sync, part)
        return await self._finish()

    def _open(self) -> BinaryIO:
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            # Whatever a link of this name points to is not ours to write to.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.fdopen(os.open(self.part, flags, 0o600), "r+b")
        except OSError as error:
            raise ProvisionError(f"{self.part} cannot be written: {error.strerror}") from error

    async def _take_up(self, part: BinaryIO) -> None:
        """Take what an earlier attempt left into the sum."""
        while chunk := await asyncio.to_thread(part.read, CHUNK_BYTES):
            self._sum.update(chunk)
            self._size += len(chunk)
        if self._size > self._file.size_bytes:
            await self._begin_anew(part)
        self._report(self._size)

    async def _begin_anew(self, part: BinaryIO) -> None:
        await asyncio.to_thread(part.seek, 0)
        await asyncio.to_thread(part.truncate)
        self._size, self._sum = 0, _new_sum(self._file)

    async def _fetch(self, part: BinaryIO) -> None:
        failures = 0
        while self._size < self._file.size_bytes:
            before = self._size
            try:
                async with self._repository.bytes_of(self._listing, self._file, start=self._size) as response:
                    await self._receive(response, part)
                if self._size < self._file.size_bytes:
                    raise PassingFailure(f"{self._file.path} ended after {self._size} bytes")
            except PassingFailure as error:
                failures = 1 if self._size - before >= ENOUGH_BYTES else failures + 1
                if failures >= self._repository.patience.attempts:
                    raise ProvisionError(
                        f"{error}; {self._size} of {self._file.size_bytes} bytes are kept, and the next attempt goes "
                        "on from there"
                    ) from error
                log.warning(
                    "download_interrupted", file=self._file.path, size_bytes=self._size, error=str(error)
                )
                await asyncio.sleep(max(error.retry_after_s, self._repository.patience.pause_s(failures)))

    async def _receive(self, response: aiohttp.ClientResponse, part: BinaryIO) -> None:
        if self._size and not self._is_continued(response):
            await self._begin_anew(part)
            if response.status == 206:
                raise PassingFailure(f"{self._file.path}: another range came than the one that was asked for")
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            if self._size + len(chunk) > self._file.size_bytes:
                await self._give_up(f"is longer than the {self._file.size_bytes} bytes it should have")
            await asyncio.to_thread(self._write, part, chunk)
            self._size += len(chunk)
            self._report(self._size)

    def _is_continued(self, response: aiohttp.ClientResponse) -> bool:
        # A server that knows no ranges answers 200 with all of it.
        begins = response.headers.get("Content-Range", "").startswith(f"bytes {self._size}-")
        return response.status == 206 and begins

    def _write(self, part: BinaryIO, chunk: bytes) -> None:
        try:
            part.write(chunk)
        except OSError as error:
            raise ProvisionError(f"{self.part} cannot be written: {error.strerror}") from error
        self._sum.update(chunk)

    async def _give_up(self, fault: str) -> None:
        await asyncio.to_thread(self.part.unlink, missing_ok=True)
        raise ProvisionError(f"{self._file.path} {fault}; nothing of it was kept")

    async def _finish(self) -> str:
        expected, found = self._file.sha256 or self._file.git_sha1, self._sum.hexdigest()
        if found != expected:
            await self._give_up(f"has the sum {found}, expected is {expected}")
        sha256 = found if self._file.sha256 else await asyncio.to_thread(sha256_of, self.part)
        await asyncio.to_thread(_move, self.part, self._target)
        await asyncio.to_thread(_remove_parts, self._target)
        return sha256


def part_of(target: Path, file: RepoFile) -> Path:
    """Return where a file lies while it is fetched; what is named for another sum is not taken up."""
    return target.with_name(f"{_part_prefix(target)}{(file.sha256 or file.git_sha1)[:16]}{_PART}")


def _part_prefix(target: Path) -> str:
    return f".{target.name[:100]}."


def _remove_parts(target: Path) -> None:
    """Remove what is left of fetching earlier versions of a file."""
    for path in target.parent.iterdir():
        if path.name.startswith(_part_prefix(target)) and path.name.endswith(_PART):
            path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def matches(path: Path, file: RepoFile) -> bool:
    """Tell whether a file on the disk is the one the hub lists."""
    if not path.is_file() or path.stat().st_size != file.size_bytes:
        return False
    found = _new_sum(file)
    with path.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            found.update(chunk)
    return bool(found.hexdigest() == (file.sha256 or file.git_sha1))


def _new_sum(file: RepoFile) -> Any:
    if file.sha256:
        return hashlib.sha256()
    # Small files have git's sum only: of a header and the content.
    return hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)


def _sync(part: BinaryIO) -> None:
    part.flush()
    os.fsync(part.fileno())


def _move(part: Path, target: Path) -> None:
    try:
        part.replace(target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ProvisionError(f"{target} cannot be written: {error.strerror}") from error
