"""Runs the program git on repositories of strangers: without a shell, without their settings, within limits."""

import asyncio
import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from yarl import URL

from hub.egress.guard import connecting_for, reach
from hub.egress.rule import PAGES
from hub.errors import DocumentUnreadable
from hub.public_addresses import AddressRefused, Network, NotPublic, checked_address, resolve
from knowledge.sources.base import SourceUnreadable

MEMORY_BYTES = 4 * 2**30
POLL_S = 0.1
TREE_TIMEOUT_S = 60.0
LEAST_VERSION = (2, 37)
"""From here on git can be told which address a name has. Source: git-config, http.curloptResolve."""
SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.symlinks": "false",
    "core.protectNTFS": "true",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "fetch.fsckObjects": "true",
    "transfer.fsckObjects": "true",
    # Old, harmless mistakes of many repositories.
    "fetch.fsck.zeroPaddedFilemode": "warn",
    "fetch.fsck.missingSpaceBeforeDate": "warn",
    "fetch.fsck.badTimezone": "warn",
    "gc.auto": "0",
    "maintenance.auto": "false",
    # Redirects could lead to an address that was not looked at.
    "http.followRedirects": "false",
    "http.proxy": "",
    "transfer.bundleURI": "false",
}
_VERSION = re.compile(r"(\d+)\.(\d+)")
_LAST_WORDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class GitLimits:
    """What a repository may take."""

    max_bytes: int
    """Of the clone on disk."""
    timeout_s: float = 600.0
    """For the clone."""


class GitProgram:
    """The program git, for one repository."""

    def __init__(self, limits: GitLimits, allowed: tuple[Network, ...] = ()) -> None:
        self._limits = limits
        self._allowed = allowed

    def clone(self, address: str, folder: Path) -> None:
        """Make a bare clone of the newest commit.

        Args:
            address: `file://`, `http://` or `https://`.
            folder: is made.

        Raises: SourceUnreadable: it cannot be had, or is too large, or takes too long.
        """
        url = URL(address)
        with connecting_for(PAGES):
            settings = {} if url.scheme == "file" else self._pinned(url)
            if url.scheme != "file":
                # git is a program of its own: what it may reach was looked at here, and it is told to go nowhere else.
                reach(url.raw_host or "", url.port or 0)
        options = ("--bare", "--depth", "1", "--single-branch", "--no-tags", "--template=", "--quiet")
        process = self._start(
            "clone", *options, "--", address, str(folder), settings=settings, protocol=url.scheme
        )
        try:
            self._watch(process, folder)
            told = process.stderr.read().decode("utf-8", "replace") if process.stderr else ""
            if process.returncode:
                raise SourceUnreadable(f"the repository cannot be cloned: {_last_words(told)}")
        finally:
            _end(process)

    def tree(self, folder: Path, max_bytes: int) -> bytes:
        """List the newest commit as `git ls-tree -r -z -l` does.

        Raises: SourceUnreadable: it is empty, damaged or longer than `max_bytes`.
        """
        process = self._start("--git-dir", str(folder), "ls-tree", "-r", "-z", "-l", "--full-tree", "HEAD")
        assert process.stdout is not None
        # A few folders that name each other can stand for more than anybody could ever walk through.
        timer = threading.Timer(TREE_TIMEOUT_S, process.kill)
        timer.start()
        try:
            listing: bytes = process.stdout.read(max_bytes + 1)
            if len(listing) > max_bytes:
                raise SourceUnreadable("the repository's list of files is too long")
            if code := process.wait():
                reason = "its list of files takes too long" if code < 0 else "it holds no commit"
                raise SourceUnreadable(f"the repository cannot be read: {reason}")
            return listing
        finally:
            timer.cancel()
            _end(process)

    @contextlib.contextmanager
    def blobs(self, folder: Path) -> Iterator["Blobs"]:
        """Start to read files of a clone."""
        process = self._start("--git-dir", str(folder), "cat-file", "--batch", reads=True)
        try:
            yield Blobs(process)
        finally:
            _end(process)

    def _start(
        self,
        *command: str,
        settings: Mapping[str, str] | None = None,
        protocol: str = "none",
        reads: bool = False,
    ) -> subprocess.Popen[bytes]:
        program = shutil.which("git")
        if program is None:
            raise SourceUnreadable("the program git is not installed")
        given = [f"{name}={value}" for name, value in {**SETTINGS, **(settings or {})}.items()]
        process = subprocess.Popen(  # noqa: S603 - no shell, and every word of a stranger's stands behind `--`
            [program, *(word for setting in given for word in ("-c", setting)), *command],
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.PIPE if command[0] != "clone" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if command[0] == "clone" else subprocess.DEVNULL,
            env=_environment(protocol),
            start_new_session=True,
        )
        # What git starts inherits it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            size = self._limits.max_bytes
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
            resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
        return process

    def _watch(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        deadline = time.monotonic() + self._limits.timeout_s
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_S)
            if _size_of(folder) > self._limits.max_bytes:
                raise SourceUnreadable(f"the repository is larger than {self._limits.max_bytes} bytes")
            if process.returncode is not None:
                return
            if time.monotonic() > deadline:
                raise SourceUnreadable(f"the repository takes longer than {self._limits.timeout_s:.0f} s")

    def _pinned(self, url: URL) -> dict[str, str]:
        """Look the host up once, and have git connect to that very address."""
        assert url.host is not None
        assert url.port is not None
        if url.host.endswith("."):
            # Whether git looks for the name with or without the dot is its own affair.
            raise SourceUnreadable("the name of the repository's host ends with a dot")
        try:
            checked_address(url.raw_host or "", self._allowed)
        except ValueError:
            pass
        except AddressRefused as error:
            raise _refused(error) from error
        else:
            return {}
        if _version() < LEAST_VERSION:
            raise SourceUnreadable("git 2.37 or newer is needed for repositories of other machines")
        try:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                addresses = runner.run(resolve(url.raw_host or "", url.port, self._allowed))
        except NotPublic as error:
            raise _refused(error) from error
        except (OSError, UnicodeError) as error:
            raise SourceUnreadable(f"{url.host}: its name is not known") from error
        shown = [f"[{address}]" if address.version == 6 else str(address) for address in addresses]
        return {"http.curloptResolve": f"{url.raw_host}:{url.port}:{','.join(shown)}"}


class Blobs:
    """Reads files of a clone by their ids, one after the other; may be called from any thread."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lock = threading.Lock()

    def read(self, blob_id: str, size_bytes: int) -> bytes:
        """Read a file.

        Raises: DocumentUnreadable: it is not there, or not of the size that was told.
        """
        with self._lock:
            source, sink = self._process.stdout, self._process.stdin
            assert source is not None
            assert sink is not None
            try:
                sink.write(f"{blob_id}\n".encode())
                sink.flush()
                return _answer(source, blob_id, size_bytes)
            except (OSError, ValueError) as error:
                # Where an answer begins cannot be told any more.
                self._process.kill()
                raise DocumentUnreadable(f"cannot be read from the repository: {error}") from error


def _answer(source: IO[bytes], blob_id: str, size_bytes: int) -> bytes:
    head = source.readline(200).split()
    if head != [blob_id.encode(), b"blob", str(size_bytes).encode()]:
        raise ValueError("git answered something else")
    data = source.read(size_bytes + 1)
    if len(data) != size_bytes + 1:
        raise ValueError("git ended")
    return data[:-1]


def _refused(error: AddressRefused) -> SourceUnreadable:
    return SourceUnreadable(f"{error}; knowledge.web_networks can allow its network")


def _environment(protocol: str = "none") -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "HOME": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_LFS_SKIP_SMUDGE": "1",
        # Stronger than any setting.
        "GIT_ALLOW_PROTOCOL": protocol,
    }


def _version() -> tuple[int, int]:
    program = shutil.which("git") or "git"
    told = subprocess.run(  # noqa: S603
        [program, "--version"], capture_output=True, text=True, timeout=10, check=False, env=_environment()
    ).stdout
    found = _VERSION.search(told)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _size_of(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        # Git renames its files while it works.
        with contextlib.suppress(OSError):
            size += path.lstat().st_size
    return size


def _last_words(told: str) -> str:
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if line.startswith(("fatal:", "error:"))), "")
    shown = last or (lines[-1] if lines else "git gave no reason")
    return "".join(char for char in shown if char.isprintable())[:_LAST_WORDS]


def _end(process: subprocess.Popen[bytes]) -> None:
    # With all that it has started.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
