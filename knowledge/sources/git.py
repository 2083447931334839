"""A git repository as a source: documents and code of its newest commit, read without a working tree.

A bare, shallow clone is made for the time of reading: nothing of a repository is ever checked out, so that no hook,
filter, submodule, symbolic link or file name of it can do anything on this machine.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from hub.documents.parsing import media_type_of
from hub.errors import DocumentUnreadable
from hub.public_addresses import Network
from knowledge.code_files import MAX_CODE_BYTES, is_own
from knowledge.sources.base import Content, Item, Listing, SourceUnreadable
from knowledge.sources.fetch import checked_url
from knowledge.sources.git_program import Blobs, GitLimits, GitProgram
from knowledge.sources.web import is_page

MAX_FILES = 50_000
MAX_LIST_BYTES = 64 * 2**20
PLAIN_NAMES = frozenset(
    {"readme", "license", "copying", "changelog", "changes", "news", "authors", "install"}
)
"""Documents that often have no suffix."""
_ENTRY = re.compile(rb"(\d{6}) (\w+) ([0-9a-f]{40,64}) +(\d+|-)\t(.+)", re.DOTALL)
_PLAIN_FILES = (b"100644", b"100755")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A file of a commit."""

    path: str
    id: str
    size_bytes: int


class GitSource:
    """A repository, by its path on this machine or its address."""

    def __init__(
        self,
        repository: str,
        folder: Path,
        limits: GitLimits,
        *,
        max_document_bytes: int,
        allowed: tuple[Network, ...] = (),
    ) -> None:
        """Prepare.

        Args:
            repository: a path, or an address that begins with http:// or https://.
            folder: where the clone lies while it is read.
            max_document_bytes: larger files are not read.
            allowed: networks beyond the public internet that it may come from.

        Raises: DocumentUnreadable: it is neither a folder nor an address that may be asked.
        """
        path = None if is_page(repository) else _local(repository)
        self._address = path.as_uri() if path else str(checked_url(repository))
        self.root = f"git:{path or self._address}"
        self._folder = folder
        self._program = GitProgram(limits, allowed)
        self._max_bytes = max_document_bytes

    @contextmanager
    def open(self) -> Iterator[Listing]:
        """Clone the repository and list what is read of it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self._folder / "repository.lock", timeout=10):
                # What a killed run left behind.
                for old in self._folder.glob("repository-*"):
                    shutil.rmtree(old, ignore_errors=True)
                with tempfile.TemporaryDirectory(prefix="repository-", dir=self._folder) as temporary:
                    yield from self._opened(Path(temporary, "clone.git"))
        except Timeout as error:
            raise SourceUnreadable("another repository is being read just now") from error

    def _opened(self, clone: Path) -> Iterator[Listing]:
        self._program.clone(self._address, clone)
        blobs = chosen(self._program.tree(clone, MAX_LIST_BYTES), self._max_bytes)
        if len(blobs) > MAX_FILES:
            raise SourceUnreadable(f"the repository holds more than {MAX_FILES} documents and files of code")
        with self._program.blobs(clone) as reading:
            items = [
                Item(root=self.root, location=blob.path, read=partial(_read, reading, blob)) for blob in blobs
            ]
            yield Listing(items=items)


def chosen(listing: bytes, max_bytes: int) -> list[Blob]:
    """Choose what is read of a commit.

    Args:
        listing: as `git ls-tree -r -z -l` writes it.
        max_bytes: larger files are left out.

    Returns: plain files of documents and code, in order; not what is hidden, built, foreign or data.
    """
    found = []
    for entry in listing.split(b"\0"):
        parts = _ENTRY.fullmatch(entry)
        if not parts or parts[1] not in _PLAIN_FILES or parts[2] != b"blob":
            continue
        # A name that is not UTF-8 is shown with replacements; it is its id by which it is read.
        path = parts[5].decode("utf-8", "replace")
        size = int(parts[4]) if parts[4].isdigit() else 0
        is_document = _read_name(path).lower().endswith((".md", ".markdown", ".txt", ".rst", ".pdf", ".docx"))
        if _is_wanted(path) and 0 < size <= (max_bytes if is_document else min(max_bytes, MAX_CODE_BYTES)):
            found.append(Blob(path=path, id=parts[3].decode(), size_bytes=size))
    return found


def _is_wanted(path: str) -> bool:
    return is_own(PurePosixPath(path)) and media_type_of(PurePosixPath(_read_name(path))) is not None


def _read_name(path: str) -> str:
    name = PurePosixPath(path).name
    return f"{name}.txt" if name.lower() in PLAIN_NAMES else name


def _read(reading: Blobs, blob: Blob, known: str) -> Content | None:
    if known == blob.id:
        return None
    data = reading.read(blob.id, blob.size_bytes)
    return Content(data=data, name=_read_name(blob.path), source_version=blob.id)


def _local(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.is_dir():
        raise DocumentUnreadable(f"{text} is no folder", "unreachable")
    return path
