"""The SQL database: where it lies, how it is opened, and how its tables come to be.

Every package that keeps tables declares its models on `Base`; `hub/migrations` creates them.
"""

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    DateTime,
    Dialect,
    Engine,
    MetaData,
    Text,
    create_engine,
    event,
    inspect,
    make_url,
    text,
)
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from hub.egress.guard import reach
from hub.errors import HubError
from hub.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
BUSY_TIMEOUT_MS = 10_000
UPGRADE_TIMEOUT_S = 60
WRITERS_LOCK = 4_829_482
"""Any number that only Hubbub's writers lock in PostgreSQL."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class DatabaseError(HubError):
    """The database cannot be opened or its tables cannot be brought up to date."""


class Base(DeclarativeBase):
    """Base of every table model."""

    # Named constraints, so that a migration can drop them on every database.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class StoredText(TypeDecorator[str]):
    """Text on every database: what PostgreSQL refuses, NUL and halves of surrogate pairs, becomes U+FFFD.

    What people, documents and models write may hold any of it, and one such text must not keep others from being stored.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace what cannot be stored; what is looked for changes alike, so that it is found."""
        return value if value is None else _UNSTORABLE.sub("\ufffd", value)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC `datetime` on every database; SQLite alone would give back naive ones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, turn the others into UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"expected an aware datetime, found {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Attach UTC where the driver left it out."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def database_url(settings: Settings) -> str:
    """Give the database's URL, without a driver: `hubbub.db` in the data folder unless the settings name another."""
    if named := settings.database_url.get_secret_value():
        return named
    file = settings.data.expanduser().resolve() / "hubbub.db"
    return URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)


def async_engine(url: str) -> "AsyncEngine":
    """Open the database for code on the event loop.

    The tables are there once `upgrade` has run. Transactions that read and then write belong on
    `engine.execution_options(immediate=True)`: they take turns, on PostgreSQL as on SQLite, and wait at the start
    of the transaction instead of failing in the middle of it. So nothing comes between what they read and what
    they write, none waits for another in a circle, and ids rise in the order of commits. What every request asks by one
    statement alone may use `engine.execution_options(single=True)`: SQLite is spared the beginning of a transaction.
    """
    # Imported here: programs that only read tables from a thread do without greenlet and asyncio.
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

    # The same driver as in threads: the one URL of the settings, with its options, is for both.
    address = _with_driver(url, sqlite="aiosqlite", postgresql="psycopg")
    with _driver_errors(address):
        engine = create_async_engine(address, **_options(address))
    _prepare(engine.sync_engine)
    return engine


def sync_engine(url: str) -> Engine:
    """Open the database for code in threads and programs; see `async_engine`."""
    address = _with_driver(url, sqlite="pysqlite", postgresql="psycopg")
    with _driver_errors(address):
        engine = create_engine(address, **_options(address))
    _prepare(engine)
    return engine


@asynccontextmanager
async def database_errors(what: str) -> AsyncIterator[None]:
    """Turn the database's exceptions into DatabaseError.

    Args:
        what: what could not be done, as the error says it.
    """
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        # Without the statement: it holds what people wrote.
        raise DatabaseError(f"{what}: {type(error).__name__}") from error


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """Bring a database up to date and open it for a while, for code in threads and programs.

    Raises: DatabaseError: it cannot be opened, read or written; also for what is done with it.
    """
    upgrade(url)
    engine = sync_engine(url)
    try:
        yield engine
    except SQLAlchemyError as error:
        # The first line alone: others may hold what people wrote.
        reason = str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0]
        raise DatabaseError(f"database {_shown(url)} cannot be used: {reason}") from error
    finally:
        engine.dispose()


def upgrade(url: str) -> None:
    """Create the tables or bring them up to date; many processes may do it at once.

    Blocks; call it from a thread where an event loop runs. Every step is one transaction, so a kill leaves
    the database as it was.

    Raises: DatabaseError: the database cannot be opened, or is newer than this program.
    """
    try:
        with _only_process(url):
            engine = sync_engine(url)
            try:
                # Most starts find the tables as they should be and need not import Alembic.
                if current_revision(engine) != newest_revision():
                    with _upgrading(engine) as connection:
                        take_steps(connection)
            finally:
                engine.dispose()
    except (SQLAlchemyError, OSError) as error:
        raise DatabaseError(f"database {_shown(url)} cannot be opened: {error}") from error


def upgrade_to(engine: Engine, revision: str) -> None:
    """Bring a database to a certain revision of its tables, for a backup of an older program.

    Raises: DatabaseError: there is no such revision.
    """
    with _upgrading(engine) as connection:
        take_steps(connection, revision)


@contextmanager
def _upgrading(engine: Engine) -> Iterator[Connection]:
    with engine.execution_options(immediate=True, patience_s=UPGRADE_TIMEOUT_S).begin() as connection:
        yield connection


def take_steps(connection: Connection, revision: str = "head", *, back: bool = False) -> None:
    """Bring the tables up to date, or to a revision, within the transaction of a connection.

    Args:
        back: the tables are of a later revision.

    Raises: DatabaseError: the database is newer than this program, or in an encoding that does not hold every text.
    """
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    if connection.dialect.name == "postgresql":
        _check_encoding(connection)
    config.attributes["connection"] = connection
    try:
        (command.downgrade if back else command.upgrade)(config, revision)
    except CommandError as error:
        raise DatabaseError(f"the database's tables cannot be brought up to date: {error}") from error


def _check_encoding(connection: Connection) -> None:
    encoding = connection.execute(text("SHOW server_encoding")).scalar()
    if encoding != "UTF8":
        raise DatabaseError(
            f"the database has the encoding {encoding}, which cannot hold every text; make one with "
            "createdb --encoding UTF8 --locale C.UTF-8 --template template0"
        )


def current_revision(engine: Engine) -> str | None:
    """Tell the revision of a database's tables; None where there are none."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def newest_revision() -> str:
    """Tell the revision that this program brings tables to."""
    # Revisions are numbered and the file name starts with the number.
    return max(path.name.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


@contextmanager
def _only_process(url: str) -> Iterator[None]:
    # Switching a new SQLite file to WAL fails at once when another process does the same, whatever the
    # busy timeout; so the first opening is guarded by a lock file. On PostgreSQL writers take turns anyway.
    file = make_url(url).database
    if make_url(url).get_backend_name() != "sqlite" or not file or file == ":memory:":
        yield
        return
    from filelock import FileLock  # noqa: PLC0415

    Path(file).parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=UPGRADE_TIMEOUT_S):
        yield


def _with_driver(url: str, **drivers: str) -> URL:
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend not in drivers:
        raise DatabaseError(f"database_url: expected sqlite:// or postgresql://, found {backend}://")
    return parsed.set(drivername=f"{backend}+{drivers[backend]}")


@contextmanager
def _driver_errors(address: URL) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise DatabaseError(
            f"{address.drivername} is not installed: .venv/bin/pip install -c constraints.txt -e '.[postgres]'"
        ) from error


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)


def _options(address: URL) -> dict[str, Any]:
    return {
        # A server may have ended a connection meanwhile; a file does not.
        "pool_pre_ping": address.get_backend_name() != "sqlite",
        # What people and documents say has no place in the text of an error, which ends in logs and on screens.
        "hide_parameters": True,
    }


def _prepare(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
        return

    @event.listens_for(engine, "do_connect")
    def _ask_the_guard(_dialect: object, _record: object, _arguments: object, options: Any) -> None:
        # libpq looks names up and connects in C.
        hosts = options.get("host") or options.get("hostaddr") or os.environ.get("PGHOST", "")
        ports = str(options.get("port") or "5432").split(",")
        for number, host in enumerate(hosts.split(",")):
            if host and not host.startswith("/"):
                reach(host, int(ports[number] if number < len(ports) else ports[-1]))

    @event.listens_for(engine, "begin")
    def _take_turn(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("immediate", False):
            patience_ms = 1000 * options["patience_s"] if "patience_s" in options else BUSY_TIMEOUT_MS
            # A process that hangs in its turn costs the others an error, not their life.
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {patience_ms}")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})")


def _prepare_sqlite(engine: Engine) -> None:

    @event.listens_for(engine, "connect")
    def _set_pragmas(connection: Any, _record: object) -> None:
        # The driver's own transaction handling would commit before every CREATE TABLE; `_begin` does it instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("single", False):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("immediate", False) else "BEGIN")
