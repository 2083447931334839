"""The names of what the index keeps in Redis, built in one place: for the index, and for those who remove somebody's vectors."""

import hashlib
import re

PREFIX = "hubbub:{0}:vectors:"
"""All of them begin with it. Its hash tag lets them share a slot of a cluster."""
_IDS, _VECTOR = "-ids", re.compile(r"(?P<name>.+):(?P<number>\d{1,18})")


def index_name(model: str) -> str:
    """Return the name of an embedding model's index."""
    return f"{PREFIX}{hashlib.sha256(model.encode()).hexdigest()[:12]}"


def vector_key(name: str, number: int) -> str:
    """Hash with the vector of one chunk."""
    return f"{name}:{number}"


def ids_key(name: str) -> str:
    """Set of the ids of all vectors of an index; not below the prefix of the vectors."""
    return f"{name}{_IDS}"


def manifest_key(name: str) -> str:
    """Hash that tells of which model an index is, and how far it has come."""
    return f"{name}-manifest"


def vector_of(key: str) -> tuple[str, int] | None:
    """Return whose vector lies under a key, as the name of the index and the id; None where it holds none."""
    match = _VECTOR.fullmatch(key)
    return (match["name"], int(match["number"])) if match and match["name"].startswith(PREFIX) else None


def index_of(key: str) -> str:
    """Return the index whose ids lie under a key; empty where it holds none."""
    return key.removesuffix(_IDS) if key.startswith(PREFIX) and key.endswith(_IDS) else ""
