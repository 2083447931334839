"""The list of erasures: outlives a restore, so that people who were erased after the backup are erased again.

It names nobody: each line holds the digest of a person's mark under a key of the hub, which a backup holds and the list
does not. Who has both can tell whether somebody they know was erased, and nothing else.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.archive.tables import ArchivedFactRow, ArchivedTurnRow
from hub.backup.sealed import sync
from hub.bus.connection import bus_errors
from hub.database import database_errors
from hub.erasure.keyspace import Keyspace, text
from hub.erasure.person import Person, Principal
from hub.errors import HubError
from hub.messages import utc_now

NAME = "erased.jsonl"


class ErasureNotes:
    """A store of the eraser that notes who is being erased; it holds nothing of them.

    Args:
        path: of the list.
        key: gives the key of the digests.
    """

    name = "erasure_list"

    def __init__(self, path: Path, key: Callable[[], Awaitable[bytes]]) -> None:
        self._path = path
        self._key = key
        self._noted: tuple[Person | None, bytes] = (None, b"")

    async def erase(self, person: Person) -> int:
        """Note them before anything of them goes; a kill in between leaves a note too many, and never one too few."""
        key = await self._key()
        digests = sorted(_digest(key, mark) for mark in person.marks)
        line = orjson.dumps(
            {"id": secrets.token_hex(8), "at": utc_now().isoformat(timespec="seconds"), "who": digests}
        )
        if digests and self._noted != (person, key):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
                with os.fdopen(descriptor, "ab") as file:
                    file.write((b"\n" if _is_torn(descriptor) else b"") + line + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                sync(self._path.parent)
            except OSError as error:
                raise HubError(f"{self._path} cannot be written: {error.strerror}") from error
            self._noted = (person, key)
        return 0

    async def holds(self, person: Person) -> int:
        """Nothing of anybody stands there."""
        return 0


def _is_torn(descriptor: int) -> bool:
    """Tell whether a list ends with half a line, which must not swallow the next one."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def read_list(lines: Iterable[bytes]) -> dict[str, bytes]:
    """Read the lines of a list by their ids; half a line that a power cut has left is passed over."""
    found = dict[str, bytes]()
    for line in lines:
        try:
            note = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(note, dict) and isinstance(note.get("id"), str) and isinstance(note.get("who"), list):
            found[note["id"]] = line.strip() + b"\n"
    return found


def read_file(path: Path) -> dict[str, bytes]:
    """Read a list; an empty one where there is no file.

    Raises: HubError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return read_list(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise HubError(f"{path} cannot be read: {error.strerror}") from error


def digests_in(notes: Iterable[bytes]) -> set[str]:
    """Return whom some lines are about."""
    return {str(who) for note in notes for who in orjson.loads(note)["who"]}


async def people_again(
    everybody: Iterable[AsyncIterator[Principal | str]], *, key: bytes, digests: set[str]
) -> Person | None:
    """Find those of a list in what was restored; None where nobody of them is there.

    Args:
        everybody: whom the stores know: as they are addressed, or by their mark alone.

    Raises: HubError: a store cannot be read.
    """
    found = Person()
    for people in everybody:
        async for one in people:
            if isinstance(one, str):
                if _digest(key, one) in digests:
                    found = found.with_more(marks={one})
            elif _digest(key, one.mark) in digests:
                found = found.with_more(principals={one})
    return found if found.marks else None


async def known_to_redis(redis: Redis, *, shards: int) -> AsyncIterator[Principal | str]:
    """Give everybody whom Redis knows: as they are addressed, or by their mark alone."""
    keyspace = Keyspace(redis, shards=shards)
    client: Any = redis
    for keys in keyspace.shards:
        async for page in keyspace.pages(keys, "known"):
            for name in page:
                with bus_errors("who is known could not be read"):
                    known = text(await client.hget(name, "as"))
                yield (
                    Principal.model_validate_json(known) if known else name.removeprefix(keys.prefix("known"))
                )
    first = keyspace.shards[0]
    for kind in ("person", "conversations"):
        prefix = f"{first.prefix('people')}{kind}:"
        async for page in keyspace.pages(first, "people", within=f"{kind}:*"):
            for name in page:
                yield name.removeprefix(prefix)


async def known_to_archive(engine: AsyncEngine) -> AsyncIterator[Principal]:
    """Give everybody of whom something is archived."""
    for row in (ArchivedTurnRow, ArchivedFactRow):
        query = select(row.connector, row.account, row.person).distinct()
        async with database_errors("the archive could not be read"), engine.connect() as connection:
            async for connector, account, person in await connection.stream(query):
                yield Principal(connector=connector, account=account, person=person)


def _digest(key: bytes, mark: str) -> str:
    return hmac.digest(key, b"erased:" + mark.encode("utf-8", "replace"), hashlib.sha256).hex()
