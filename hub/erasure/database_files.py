"""The database's files, which keep what was deleted until they are written anew."""

import asyncio
import re
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import SQLAlchemyError

from hub.database import sync_engine
from hub.erasure.files import FilesNotRewritten
from hub.erasure.stores import Compacting

PATIENCE_S = 60.0
"""How long readers and other transactions may keep the tables from being written anew."""
_LOOK_S = 0.2
_TABLES = (
    "archived_turns",
    "archived_feedback",
    "archived_facts",
    "knowledge_gaps",
    "chunk_words",
    "chunks",
    "documents",
    "collections",
)
"""All that hold something of people."""
_NUMBER = re.compile(r"\d+")


def database_files(url: str) -> Compacting:
    """Return what writes the files of a database anew.

    Args:
        url: of the database, without a driver; its tables are up to date.
    """
    return SqliteFile(url) if make_url(url).get_backend_name() == "sqlite" else PostgresqlTables(url)


class SqliteFile:
    """The database file, whose free pages and journal keep what was deleted."""

    name = "database_file"

    def __init__(self, url: str) -> None:
        address = make_url(url)
        is_file = address.database not in (None, "", ":memory:")
        self._path = Path(str(address.database)) if is_file else None

    async def compact(self) -> None:
        """Write the file anew.

        Raises: FilesNotRewritten: another program holds it.
        """
        if self._path is not None and self._path.exists():
            await asyncio.to_thread(self._vacuum, self._path)

    def _vacuum(self, path: Path) -> None:
        try:
            connection = sqlite3.connect(path, timeout=30, isolation_level=None)
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.execute("VACUUM")
                busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise FilesNotRewritten(f"{path.name} cannot be written anew: {error}") from error
        if busy:
            raise FilesNotRewritten(f"{path.name} is being read; its journal could not be emptied")


class PostgresqlTables:
    """The tables' files and indexes, in which PostgreSQL leaves deleted rows, also after a plain VACUUM.

    Its write-ahead log, archives and copies of that, and backups are beyond reach: docs/privacy.md tells of them.

    Args:
        url: of the database, without a driver.
    """

    name = "database_tables"

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S) -> None:
        self._url = url
        self._patience_s = patience_s

    async def compact(self) -> None:
        """Write the tables anew, one after the other; each is closed to everybody meanwhile.

        Raises: FilesNotRewritten: the hub's role does not own a table, or another transaction still sees what was
            removed, or holds a table.
        """
        await asyncio.to_thread(self._vacuum)

    def _vacuum(self) -> None:
        engine = sync_engine(self._url)
        try:
            with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                connection.exec_driver_sql(f"SET lock_timeout = {round(1000 * self._patience_s)}")
                deadline = time.monotonic() + self._patience_s
                for table in _TABLES:
                    while left := _written_anew(connection, table):
                        if time.monotonic() > deadline:
                            raise FilesNotRewritten(
                                f"{left} removed rows of the table {table} cannot go while an older transaction may "
                                "look at them (pg_stat_activity, pg_prepared_xacts and pg_replication_slots name it)"
                            )
                        time.sleep(_LOOK_S)
        except SQLAlchemyError as error:
            raise FilesNotRewritten(
                f"the database's tables cannot be written anew: {getattr(error, 'orig', error)}"
            ) from error
        finally:
            engine.dispose()


def _written_anew(connection: Connection, table: str) -> int:
    """Write a table anew; returns how many removed rows had to be taken along for older transactions."""
    details: list[str] = []
    driver: Any = connection.connection.driver_connection

    def note(notice: Any) -> None:
        # Here and now: the driver empties a notice afterwards.
        details.append(notice.message_detail or "")

    driver.add_notice_handler(note)
    try:
        before = _file_of(connection, table)
        connection.exec_driver_sql(f"VACUUM (FULL, VERBOSE) {table}")
        if _file_of(connection, table) == before:
            # PostgreSQL passes over what it may not do, with a warning and no error.
            raise FilesNotRewritten(f"the table {table} may be written anew by the role alone that owns it")
    finally:
        driver.remove_notice_handler(note)
    return _dead_rows(details)


def _file_of(connection: Connection, table: str) -> Any:
    return connection.exec_driver_sql(f"SELECT pg_relation_filenode('{table}')").scalar_one()


def _dead_rows(details: Sequence[str]) -> int:
    # "5 dead row versions cannot be removed yet.": in the server's language, but the number comes first.
    found = (_NUMBER.search(detail) for detail in details)
    return sum(int(number[0]) for number in found if number)
