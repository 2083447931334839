"""The interaction log: `log.jsonl` with every question and answer, and the files it was continued from.

Whoever writes, turns the page, erases or opens the files holds one lock, in whichever process: what is written and
what is erased never cross, and no line is lost between two files.
"""

import json
import os
import re
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

import orjson
import structlog
from filelock import AsyncFileLock

from hub.logs import InteractionSettings
from hub.messages import OutboundMessage, utc_now
from hub.people import principal_of

log = structlog.get_logger(__name__)

LOCK_TIMEOUT_S = 30.0
_STAMP = "%Y%m%dT%H%M%S"
_STAMPED = re.compile(r"-\d{8}T\d{6}-\d{4,}")


def interaction_lock(path: Path) -> Path:
    """Return the file whose lock is held by whoever works on an interaction log, in any process."""
    return path.with_name(f"{path.name}.lock")


def earlier_files(path: Path) -> list[Path]:
    """Return the files that the log was continued from, oldest first: `log-20260131T235959-0000.jsonl`, ..."""
    found = path.parent.glob(f"{path.stem}-*{path.suffix}")
    # What an operator has put beside them is theirs.
    return sorted(file for file in found if _STAMPED.fullmatch(file.stem.removeprefix(path.stem)))


def interaction_files(path: Path) -> list[Path]:
    """Return all files of the log that are there, oldest first."""
    return [*earlier_files(path), *([path] if path.exists() else [])]


async def open_interactions(path: Path, opened: ExitStack) -> list[IO[bytes]]:
    """Open all files of the log as they are at one moment, oldest first; a page that is turned later hides nothing.

    Raises: OSError: they cannot be read.
    """
    if not interaction_files(path):
        return []
    async with AsyncFileLock(interaction_lock(path), timeout=LOCK_TIMEOUT_S):
        return [opened.enter_context(file.open("rb")) for file in interaction_files(path)]


def rewrite(path: Path, is_kept: Callable[[bytes], bool]) -> int:
    """Write one file of the log anew without some of its lines, byte for byte otherwise; the lock must be held.

    Returns: lines that are gone.
    Raises: OSError: it could not be written; it is as before.
    """
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".log-", suffix=".jsonl")
    removed = 0
    try:
        with os.fdopen(handle, "wb") as file, path.open("rb") as lines:
            for line in lines:
                if is_kept(line):
                    file.write(line)
                else:
                    removed += 1
            file.flush()
            os.fsync(file.fileno())
        if removed:
            Path(beside).chmod(path.stat().st_mode & 0o777)
            Path(beside).replace(path)
    finally:
        Path(beside).unlink(missing_ok=True)
    return removed


class InteractionLog:
    """Appends every delivered question and answer to `log.jsonl`; any number of processes may."""

    def __init__(self, path: Path, settings: InteractionSettings | None = None) -> None:
        self._path = path
        self._settings = settings or InteractionSettings()

    async def record(self, message: OutboundMessage, is_wanted: Callable[[], Awaitable[bool]]) -> None:
        """Append one line, unless it is not wanted any more once nobody else works on the log.

        Raises: OSError: it was not written.
        """
        async with AsyncFileLock(interaction_lock(self._path), timeout=LOCK_TIMEOUT_S):
            if await is_wanted():
                self._turn_the_page()
                self._append(message)

    def _append(self, message: OutboundMessage) -> None:
        line = {
            "at": utc_now().isoformat(),
            "connector": message.address.connector,
            "conversation": message.conversation,
            "turn": message.turn,
            "question": message.question,
            "answer": message.text,
            "sources": [source.location for source in message.sources],
        }
        if message.address.is_group:
            # Of what several people share, each can have their own part erased.
            line["who"] = principal_of(message.address)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _turn_the_page(self) -> None:
        """Go on in a new file where this one is large or old enough, and delete the oldest beyond those kept."""
        try:
            size_bytes = self._path.stat().st_size
        except FileNotFoundError:
            return
        if size_bytes >= self._settings.max_bytes or self._is_old():
            self._path.rename(self._name_for_the_past())
        for file in self._too_many():
            file.unlink(missing_ok=True)
            log.info("interaction_file_deleted", file=file.name)

    def _is_old(self) -> bool:
        if not self._settings.max_age_days:
            return False
        with self._path.open("rb") as file:
            began = _time_of(file.readline())
        return began is not None and utc_now() - began >= timedelta(days=self._settings.max_age_days)

    def _name_for_the_past(self) -> Path:
        """Name the file that is left behind so that it sorts behind all others, also where the clock was put back."""
        stamp, number = utc_now().strftime(_STAMP), 0
        if earlier := earlier_files(self._path):
            _, newest, newest_number = earlier[-1].stem.rsplit("-", 2)
            if newest >= stamp:
                stamp, number = newest, int(newest_number) + 1
        return self._path.with_name(f"{self._path.stem}-{stamp}-{number:04}{self._path.suffix}")

    def _too_many(self) -> list[Path]:
        earlier = earlier_files(self._path)
        return earlier[: max(0, len(earlier) - self._settings.keep)]


def _time_of(line: bytes) -> datetime | None:
    """Read when a line was written; None where it does not tell."""
    try:
        at = datetime.fromisoformat(orjson.loads(line)["at"])
    except (ValueError, KeyError, TypeError):
        return None
    return at if at.tzinfo else None
