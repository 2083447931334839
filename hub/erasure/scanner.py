"""Looks for words in everything the hub keeps: the proof that an erasure has left nothing, made without trusting it."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import Connection, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from hub.bus.connection import bus_errors
from hub.bus.nodes import scan_pages
from hub.database import DatabaseError, sync_engine

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One place where a word stands."""

    place: str
    """A file's path, a key of Redis, or a table of PostgreSQL."""
    word: str


def scan_files(folders: Iterable[Path], words: Sequence[str]) -> Iterator[Found]:
    """Look through all files below some folders, byte by byte, whatever they are.

    Redis compresses longer strings of snapshots unless `rdbcompression` is off: those are found by `scan_redis`.

    Args:
        words: at least one character each; each place is named once for each word.
    """
    needles = [(word, word.encode()) for word in words]
    longest = max((len(needle) for _, needle in needles), default=1)
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                for word in _words_in(path, needles, longest):
                    yield Found(place=str(path), word=word)


async def scan_redis(redis: Redis, words: Sequence[str]) -> AsyncIterator[Found]:
    """Look through all keys of a Redis and their values."""
    needles = [(word, word.encode()) for word in words]
    async for keys in scan_pages(redis, "*", count=500):
        for key in keys:
            with bus_errors("Redis could not be looked through"):
                value = key + b"\n" + await _value(redis, key)
            for word, needle in needles:
                if needle in value:
                    yield Found(place=f"redis {key.decode('utf-8', 'replace')}", word=word)


def scan_tables(url: str, words: Sequence[str]) -> Iterator[Found]:
    """Look through all rows of all tables of PostgreSQL; SQLite is a file, which `scan_files` looks through.

    Raises: DatabaseError: the tables cannot be read.
    """
    if make_url(url).get_backend_name() == "sqlite":
        return
    engine = sync_engine(url)
    try:
        with engine.connect() as connection:
            for table in inspect(connection).get_table_names():
                for word in words:
                    if _stands_in(connection, table, word):
                        yield Found(place=f"database {table}", word=word)
    except SQLAlchemyError as error:
        raise DatabaseError(f"the tables could not be looked through: {type(error).__name__}") from error
    finally:
        engine.dispose()


def _stands_in(connection: Connection, table: str, word: str) -> bool:
    # Columns of JSON are kept as they were written, in ASCII.
    forms = {json.dumps(word)[1:-1], json.dumps(word, ensure_ascii=False)[1:-1]}
    row = "CAST(row_to_json(kept) AS text)"
    query = text(f'SELECT 1 FROM "{table}" AS kept WHERE position(CAST(:form AS text) IN {row}) > 0 LIMIT 1')  # noqa: S608
    return any(connection.execute(query, {"form": form}).first() for form in forms)


def _words_in(path: Path, needles: Sequence[tuple[str, bytes]], longest: int) -> Iterator[str]:
    wanted, before = list(needles), b""
    try:
        with path.open("rb") as file:
            while wanted and (chunk := file.read(_CHUNK_BYTES)):
                # A word may lie across two chunks.
                window = before + chunk
                for word, needle in [pair for pair in wanted if pair[1] in window]:
                    wanted.remove((word, needle))
                    yield word
                before = window[-(longest - 1) :] if longest > 1 else b""
    except FileNotFoundError:
        # Removed while its folder was read: what is not there holds nothing.
        return


async def _value(client: Any, key: bytes) -> bytes:
    match await client.type(key):
        case b"string":
            return await client.get(key) or b""
        case b"hash":
            return _joined(await client.hgetall(key))
        case b"list":
            return _joined(await client.lrange(key, 0, -1))
        case b"set":
            return _joined(await client.smembers(key))
        case b"zset":
            return _joined(await client.zrange(key, 0, -1))
        case b"stream":
            entries = await client.xrange(key)
            groups = await client.xinfo_groups(key)
            return _joined(entries) + _joined(groups)
    return b""


def _joined(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return b"\n".join(_joined(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set):
        return b"\n".join(_joined(part) for part in value)
    return str(value).encode()
