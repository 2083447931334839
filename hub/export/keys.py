"""API keys on their way from another hub or an earlier system: their digests, by which they go on to open."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import orjson

from hub.export.archive import MAX_ROW_BYTES, ArchiveRefused, read_row
from hub.export.importing import time_of
from hub.messages import utc_now

MAX_KEYS_BYTES = 16 << 20
_ID = re.compile(r"[0-9a-f]{12}", re.ASCII)
_SHA256 = re.compile(r"(?:sha-?256[:$])?([0-9a-f]{64})", re.ASCII | re.IGNORECASE)
_DIGEST_NAMES = ("hash", "key_hash", "sha256")
_LABEL_NAMES = ("label", "name", "user")
_TIME_NAMES = ("expires_at", "revoked_at", "rotated_at", "last_used_at")


def key_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Give the keys of a file: JSON lines, a JSON array, or a JSON object whose names are the digests.

    Raises: ArchiveRefused: the file holds something else. OSError: it cannot be read.
    """
    with path.open("rb") as file:
        beginning = file.read(4096).lstrip()
        file.seek(0)
        if beginning.startswith(b"[") or _is_table(beginning):
            yield from _whole(file.read(MAX_KEYS_BYTES + 1), path.name)
            return
        number = 0
        while line := file.readline(MAX_ROW_BYTES + 1):
            number += 1
            if line.strip():
                yield read_row(line, f"{path.name}, line {number}")


def is_key_file(beginning: bytes) -> bool:
    """Tell whether a file that begins so holds keys."""
    names = any(f'"{name}"'.encode() in beginning for name in _DIGEST_NAMES)
    return b'"tier"' in beginning and (names or _is_table(beginning.lstrip()))


def _is_table(beginning: bytes) -> bool:
    return re.match(rb'\{\s*"(?:sha-?256[:$])?[0-9a-fA-F]{64}"\s*:', beginning) is not None


def _whole(content: bytes, name: str) -> list[Mapping[str, Any]]:
    if len(content) > MAX_KEYS_BYTES:
        raise ArchiveRefused(
            f"{name} is longer than {MAX_KEYS_BYTES} bytes; write one key on each line instead"
        )
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ArchiveRefused(f"{name} is not valid JSON: {error}") from None
    rows = found.values() if isinstance(found, dict) else found
    if not all(isinstance(row, dict) for row in rows):
        raise ArchiveRefused(f"{name}: expected objects")
    if isinstance(found, dict):
        return [{"hash": digest, **row} for digest, row in found.items()]
    return list(rows)


def key_values(row: Mapping[str, Any], tiers: Iterable[str]) -> dict[str, Any]:
    """Return the columns of a key.

    A key without an `id` of a hub, as earlier systems have them, gets the beginning of its digest for one: imported again
    it is the same.

    Raises: ValueError: it is no key that this hub could check.
    """
    digest = _digest_of(row)
    given = row.get("id")
    key_id = given if isinstance(given, str) and _ID.fullmatch(given) else digest[:12]
    tier = row.get("tier")
    if not isinstance(tier, str) or tier not in set(tiers):
        raise ValueError(f"key {key_id}: there is no tier {tier!r} in the settings")
    label = next((row[name] for name in _LABEL_NAMES if row.get(name)), "")
    is_revoked = row.get("revoked") is True or row.get("active") is False
    times = {name: time_of(row[name]) if row.get(name) is not None else None for name in _TIME_NAMES}
    if is_revoked and times["revoked_at"] is None:
        times["revoked_at"] = utc_now()
    return {
        "id": key_id,
        "hash": digest,
        "tier": tier,
        "label": str(label)[:200],
        "scopes": _words(row, "scopes", key_id),
        "networks": _networks(row, key_id),
        "created_at": time_of(row["created_at"]) if "created_at" in row else utc_now(),
        **times,
    }


def earlier_secrets(row: Mapping[str, Any]) -> list[tuple[str, datetime]]:
    """Return the digests that open a key for a while beside its own, with the end of that.

    Raises: ValueError: they are none.
    """
    found = row.get("earlier", [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("expected `earlier` as a list of objects")
    return [(_digest_of(one), time_of(one.get("until"))) for one in found]


def _digest_of(row: Mapping[str, Any]) -> str:
    given = next((row[name] for name in _DIGEST_NAMES if name in row), None)
    match = _SHA256.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        # What is salted or made slow is found by no digest, and what is shorter is no proof.
        raise ValueError(
            "expected `hash`, the SHA-256 of the key in 64 hexadecimal digits; "
            "a key that is kept in another way cannot be checked: make a new one"
        )
    return match[1].lower()


def _words(row: Mapping[str, Any], name: str, key_id: str) -> list[str]:
    words = row.get(name, [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"key {key_id}: expected `{name}` as a list of words")
    return words


def _networks(row: Mapping[str, Any], key_id: str) -> list[str]:
    try:
        return [str(ip_network(word)) for word in _words(row, "networks", key_id)]
    except ValueError as error:
        raise ValueError(f"key {key_id}: `networks`: {error}") from None
