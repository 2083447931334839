"""The SQL database in a backup: SQLite's file as of one moment, PostgreSQL's tables as of one transaction."""

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from hub.backup.manifest import Database, Table
from hub.backup.sealed import CHUNK_BYTES, BackupRefused
from hub.database import (
    MIGRATIONS,
    DatabaseError,
    current_revision,
    newest_revision,
    sync_engine,
    take_steps,
    upgrade,
    upgrade_to,
)

FOLDER = "database"
FILE = "hubbub.db"
VERSION_TABLE = "alembic_version"
_REVISION = re.compile(r"[0-9]{4}")
_MADE = re.compile(r"""(?:create_table\(\s*["']|CREATE (?:VIRTUAL )?TABLE (?:IF NOT EXISTS )?)(\w+)""")

Opened = Callable[[str], IO[bytes]]
"""Opens a part by its name within the folder."""


def kind_of(url: str) -> str:
    """Tell `sqlite` or `postgresql`."""
    return make_url(url).get_backend_name()


def path_of(url: str) -> Path:
    """Give the file of an SQLite database."""
    return Path(make_url(url).database or "").resolve()


def copy_sqlite(url: str, target: Path) -> Database:
    """Copy the file of a database while others read and write it.

    Raises: DatabaseError: it cannot be read. OSError: the copy cannot be written.
    """
    upgrade(url)
    try:
        with (
            closing(sqlite3.connect(path_of(url), timeout=30)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            # All pages in one step: with smaller ones it begins again whenever somebody writes. Writers go on meanwhile (WAL).
            source.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise DatabaseError(f"the database could not be copied: {error}") from error
    return Database(revision=newest_revision())


def check_sqlite(path: Path, database: Database) -> None:
    """Make sure that a file holds the tables of a hub and nothing else, whoever wrote it.

    Raises: BackupRefused: it is damaged, or other triggers or tables are in it.
    """
    fresh = path.with_name(f"{path.name}.fresh")
    engine = sync_engine(f"sqlite:///{fresh}")
    try:
        upgrade_to(engine, _revision(database))
        engine.dispose()
        with closing(sqlite3.connect(path)) as found, closing(sqlite3.connect(fresh)) as expected:
            if _schema(found) != _schema(expected):
                raise BackupRefused("the database of the backup has other tables than a hub's")
            if (state := found.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise BackupRefused(f"the database of the backup is damaged: {state}")
    except sqlite3.Error as error:
        raise BackupRefused(f"the database of the backup is damaged: {error}") from error
    finally:
        engine.dispose()
        for left in path.parent.glob(f"{fresh.name}*"):
            left.unlink(missing_ok=True)


def _schema(connection: sqlite3.Connection) -> set[tuple[str, ...]]:
    rows = connection.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master")
    return {row for row in rows if not row[1].startswith("sqlite_stat")}


def _revision(database: Database) -> str:
    if not _REVISION.fullmatch(database.revision) or database.revision > newest_revision():
        raise BackupRefused(
            f"the database of the backup is of revision {database.revision[:20]}, this program knows {newest_revision()}: update "
            "Hubbub first"
        )
    return database.revision


def copy_postgresql(url: str, target: Path) -> Database:
    """Copy all tables of a hub into a folder, one file each, as one transaction sees them.

    Raises: DatabaseError: they cannot be read. OSError: a file cannot be written.
    """
    upgrade(url)
    with _transaction(url, "the database could not be copied") as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        tables = dict[str, Table]()
        for name in _tables(connection):
            columns = _columns(connection, name)
            with (target / name).open("wb") as file:
                rows = _copy_out(connection, name, columns, file)
            tables[name] = Table(columns=columns, rows=rows)
        sequences = {row.name: row.last_value for row in connection.execute(_SEQUENCES)}
    return Database(revision=newest_revision(), tables=tables, sequences=sequences)


_SEQUENCES = text(
    "SELECT sequencename AS name, last_value FROM pg_sequences "
    "WHERE schemaname = current_schema() AND last_value IS NOT NULL"
)


def is_empty(url: str) -> bool:
    """Tell whether a database holds no tables of a hub.

    Raises: DatabaseError: it cannot be read.
    """
    if kind_of(url) == "sqlite" and not path_of(url).exists():
        return True
    engine = sync_engine(url)
    try:
        return current_revision(engine) is None
    except SQLAlchemyError as error:
        raise DatabaseError(f"the database cannot be opened: {type(error).__name__}") from error
    finally:
        engine.dispose()


def fill_postgresql(url: str, database: Database, opened: Opened) -> None:
    """Put the tables into a PostgreSQL database, in the place of what is there; all of it in one transaction.

    Raises: BackupRefused: the backup holds other tables than a hub's. DatabaseError: nothing was changed.
    """
    revision = _revision(database)
    with _transaction(url, "the database could not be filled") as connection:
        _empty(connection)
        take_steps(connection, revision, back=(_revision_of(connection) or "") > revision)
        names = _empty(connection)
        if set(names) != set(database.tables):
            raise BackupRefused("the backup holds other tables than a hub's")
        for name in names:
            # What they would write is in the backup.
            connection.exec_driver_sql(f"ALTER TABLE {name} DISABLE TRIGGER USER")
            table = database.tables[name]
            if not set(table.columns) <= set(_columns(connection, name)):
                raise BackupRefused(f"the table {name} of the backup has other columns than a hub's")
            with opened(name) as file:
                _copy_in(connection, name, table.columns, file)
            found = connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()  # noqa: S608 - a name of ours
            if found != table.rows:
                raise BackupRefused(
                    f"the table {name} of the backup has {found} rows, {table.rows} were written"
                )
            connection.exec_driver_sql(f"ALTER TABLE {name} ENABLE TRIGGER USER")
        _set_sequences(connection, database.sequences)


def _empty(connection: Connection) -> list[str]:
    """Remove all rows of a hub; returns the names of its tables."""
    names = _tables(connection)
    if names:
        connection.exec_driver_sql(f"TRUNCATE {', '.join(names)}")
    return names


def _revision_of(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a name of ours


def _tables(connection: Connection) -> list[str]:
    """Name the hub's tables, each after those that it refers to; others may lie beside them."""
    ours = made_by_migrations()
    sorted_names = (name for name, _ in inspect(connection).get_sorted_table_and_fkc_names())
    return [name for name in sorted_names if name in ours]


def made_by_migrations() -> set[str]:
    """Name every table that a migration makes, on whichever database."""
    steps = (path.read_text("utf-8") for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))
    return {name for step in steps for name in _MADE.findall(step)}


def _columns(connection: Connection, table: str) -> tuple[str, ...]:
    """Name the columns that hold something of their own."""
    query = text(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() "
        "AND table_name = :name AND is_generated = 'NEVER' ORDER BY ordinal_position"
    )
    return tuple(connection.scalars(query, {"name": table}))


def _copy_out(connection: Connection, table: str, columns: tuple[str, ...], file: IO[bytes]) -> int:
    with _cursor(connection) as cursor:
        with cursor.copy(f"COPY {table} ({_listed(columns)}) TO STDOUT") as rows:
            for data in rows:
                file.write(data)
        return int(cursor.rowcount)


def _copy_in(connection: Connection, table: str, columns: tuple[str, ...], file: IO[bytes]) -> None:
    with _cursor(connection) as cursor, cursor.copy(f"COPY {table} ({_listed(columns)}) FROM STDIN") as rows:
        while data := file.read(CHUNK_BYTES):
            rows.write(data)


def _listed(columns: tuple[str, ...]) -> str:
    # Names of our own migrations; those of a backup were compared with them.
    return ", ".join(f'"{column}"' for column in columns)


def _cursor(connection: Connection) -> Any:
    driver: Any = connection.connection.driver_connection
    return driver.cursor()


def _set_sequences(connection: Connection, sequences: Mapping[str, int]) -> None:
    known = set(
        connection.scalars(text("SELECT sequencename FROM pg_sequences WHERE schemaname = current_schema()"))
    )
    for name, value in sequences.items():
        if name in known:
            connection.execute(
                text("SELECT setval(CAST(:name AS regclass), :value)"), {"name": name, "value": value}
            )


@contextmanager
def _transaction(url: str, doing: str) -> Iterator[Connection]:
    engine = sync_engine(url)
    try:
        import psycopg  # noqa: PLC0415 - only who uses PostgreSQL has it

        try:
            with engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, psycopg.Error) as error:
            # The first line alone: others may hold what people wrote.
            reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
            raise DatabaseError(f"{doing}: {reason}") from error
    finally:
        engine.dispose()
