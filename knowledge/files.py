"""Finds the files that are to be read below files and folders."""

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hub.documents.parsing import is_document
from knowledge.code_files import MAX_CODE_BYTES, is_own_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file that was found."""

    path: Path
    root: Path
    """Folder it was added from."""
    problem: str = ""
    """Why it cannot be read, where that is known already."""

    @property
    def location(self) -> str:
        """Path below the root, with forward slashes; bytes that are not UTF-8 are replaced."""
        relative = self.path.relative_to(self.root).as_posix()
        return os.fsencode(relative).decode("utf-8", "replace")


class Search:
    """Looks through files and folders.

    Args:
        roots: folders that were added before; what lies below one of them keeps its location.
        known: files that were added before; they are read again whatever their type is.
        code: whether source code in folders is read.
    """

    def __init__(self, roots: Iterable[Path], known: Collection[Path] = (), *, code: bool = False) -> None:
        self._roots = sorted(set(roots), key=lambda root: len(root.parts))
        self._known = known
        self._takes_code = code
        self._left_out: set[Path] = set()

    @property
    def code_left_out(self) -> int:
        """How many files of source code were seen and are not read."""
        return len(self._left_out)

    def files(self, paths: Iterable[Path]) -> list[Found]:
        """Find what is to be read.

        Args:
            paths: absolute files and folders. Named files are read whatever their name is; in folders hidden files,
                symbolic links and files of unknown types are passed over.

        Returns: every file once, in order.
        """
        found: dict[Path, Found] = {}
        for path in paths:
            own = path if path.is_dir() else path.parent
            root = next((root for root in self._roots if path.is_relative_to(root)), own)
            for entry in self._below(path, root):
                found.setdefault(entry.path, entry)
        self._left_out -= found.keys()
        return list(found.values())

    def _below(self, path: Path, root: Path) -> Iterator[Found]:
        if not path.is_dir():
            if may_exist(path):
                yield _found(path, root)
            else:
                yield Found(path=path, root=root, problem="does not exist")
            return
        problems: list[OSError] = []
        for folder, folders, names in os.walk(path, onerror=problems.append):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                file = Path(folder, name)
                if not name.startswith(".") and not file.is_symlink() and self._is_read(file, path):
                    yield _found(file, root)
        for error in problems:
            yield Found(path=Path(error.filename), root=root, problem=f"cannot be read: {error.strerror}")

    def _is_read(self, file: Path, named: Path) -> bool:
        if is_document(file) or file in self._known:
            return True
        if not is_own_code(file.relative_to(named)) or not _is_small(file):
            return False
        if not self._takes_code:
            self._left_out.add(file)
        return self._takes_code


def may_exist(path: Path) -> bool:
    """Tell whether a file may be there; what cannot be looked at may."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def stands_empty(path: Path, named: Iterable[Path]) -> Path | None:
    """Tell which folder a file is missing in that holds nothing at all, as one does whose drive is not there.

    Args:
        path: absolute; the file is not there.
        named: files and folders that were named, of which one holds it or is it.

    Returns: the folder; None where other entries show that it is the real one, or where the file itself was named.
    """
    top = min((one for one in named if path.is_relative_to(one)), key=lambda one: len(one.parts))
    if top == path:
        return None
    folder = path.parent
    while folder != top and not may_exist(folder):
        folder = folder.parent
    try:
        return None if any(folder.iterdir()) else folder
    except OSError:
        return folder


def _is_small(file: Path) -> bool:
    try:
        return file.lstat().st_size <= MAX_CODE_BYTES
    except OSError:
        # Reading it tells what is wrong.
        return True


def _found(path: Path, root: Path) -> Found:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return Found(path=path, root=root, problem="has a name that is not UTF-8")
    return Found(path=path, root=root)
