"""Tells source code that people write from data, from what others wrote, and from what was built."""

import re
from pathlib import PurePath

from hub.documents.parsing import CODE, media_type_of

MAX_CODE_BYTES = 1_000_000
"""Larger files of code are made by machines, for machines."""
DATA_SUFFIXES = frozenset(
    [".csv", ".diff", ".env", ".ipynb", ".json", ".jsonl", ".log", ".patch", ".tsv", ".xml"]
)
"""Read where somebody attaches or names them; among others they are data, or secrets."""
FOREIGN = frozenset({"node_modules", "vendor", "third_party", "site-packages", "dist", "__pycache__"})
"""Folders that hold what others wrote, or what was built."""
_LOCK_FILE = re.compile(r"[-.](?:lock|min)\.|\.lock$|-lock\.")


def is_own(path: PurePath) -> bool:
    """Tell whether a file is neither hidden nor data, and lies in no such folder.

    Args:
        path: from the folder or repository on that was named.
    """
    *folders, name = path.parts
    if name.startswith(".") or any(part.startswith(".") or part in FOREIGN for part in folders):
        return False
    return path.suffix.lower() not in DATA_SUFFIXES and not _LOCK_FILE.search(name.lower())


def is_own_code(path: PurePath) -> bool:
    """Tell whether a file is source code that somebody wrote here; by its path from the named folder on."""
    return media_type_of(path) == CODE and is_own(path)
