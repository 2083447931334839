"""The database: its pragmas, its migrations, and what two processes at once do to it."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import Column, Engine, Integer, MetaData, Table, inspect, select, text
from sqlalchemy.exc import IntegrityError

import knowledge.gaps.tables
import knowledge.tables  # noqa: F401 - declare their models
from hub.database import (
    MIGRATIONS,
    Base,
    DatabaseError,
    UtcDateTime,
    async_engine,
    database_url,
    sync_engine,
    upgrade,
)
from hub.settings import Settings


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Give the URL of an upgraded database of its own."""
    address = database_url(Settings(data=tmp_path))
    upgrade(address)
    return address


def test_default_database_lies_in_the_data_folder(tmp_path: Path) -> None:
    """Without a URL the database is `hubbub.db` in the data folder, whatever characters its path has."""
    folder = tmp_path / "with ?#% signs"
    url = database_url(Settings(data=folder))

    upgrade(url)

    assert (folder / "hubbub.db").stat().st_size > 0


def test_named_database_is_taken_as_it_is() -> None:
    """A URL in the settings wins."""
    settings = Settings(database_url=SecretStr("postgresql://me:pw@db/hub"))

    assert database_url(settings) == "postgresql://me:pw@db/hub"


def test_models_and_migrations_agree(url: str) -> None:
    """The migrations create exactly what the models declare."""
    if find_spec("hub.keys") is not None:
        __import__("hub.keys")
    engine = sync_engine(url)
    ours = Base.metadata.tables.keys()

    with engine.connect() as connection:
        options = {"include_name": lambda name, kind, _: kind != "table" or name in ours}
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, Base.metadata)

    engine.dispose()
    assert differences == []


def test_api_key_table_has_its_columns(url: str) -> None:
    """The first migration creates the table of API keys."""
    engine = sync_engine(url)

    columns = {column["name"] for column in inspect(engine).get_columns("api_keys")}

    engine.dispose()
    names = "id hash tier label scopes created_at expires_at revoked_at last_used_at"
    assert columns == set(names.split())


def test_documents_of_before_collections_stay_for_everybody(tmp_path: Path) -> None:
    """What could be read before an upgrade can be read after it; going back leaves nothing that was for few."""
    url = database_url(Settings(data=tmp_path))
    engine = sync_engine(url)
    values = "'t', 'text/plain', 'v', 1, '2026-01-01'"
    columns = "collection, root, location, title, media_type, version, size_bytes, added_at"
    _migrate_to(engine, "0003")
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO documents ({columns}) VALUES ('other', '/a', 'a', {values})"))

    _migrate_to(engine, "0004")

    with engine.begin() as connection:
        found = connection.execute(text("SELECT name, audience FROM collections ORDER BY name")).all()
        assert [tuple(row) for row in found] == [
            (name, "public") for name in ("bundled", "documents", "other")
        ]
        assert connection.execute(text("SELECT source_version FROM documents")).scalars().all() == [""]
        connection.execute(text("INSERT INTO collections VALUES ('staff', 'operator', '2026-01-01')"))
        more = f"INSERT INTO documents ({columns}) VALUES ('staff', '/a', 'b', {values})"
        connection.execute(text(more))
    _migrate_to(engine, "0003")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT location FROM documents")).scalars().all() == ["a"]
    engine.dispose()


def _migrate_to(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        current = MigrationContext.configure(connection).get_current_revision() or ""
        config.attributes["connection"] = connection
        (command.upgrade if current < revision else command.downgrade)(config, revision)


def test_upgrade_twice_changes_nothing(url: str) -> None:
    """A second upgrade leaves the rows alone."""
    engine = sync_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE knowledge_version SET version = 7"))

    upgrade(url)

    with engine.connect() as connection:
        assert connection.execute(text("SELECT version FROM knowledge_version")).scalar() == 7
    engine.dispose()


def test_many_processes_may_upgrade_at_once(tmp_path: Path) -> None:
    """Four processes that start together find one database, upgraded once."""
    url = database_url(Settings(data=tmp_path))
    program = f"from hub.database import upgrade; upgrade({url!r})"

    started = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(4)]
    results = [(process.communicate()[1], process.returncode) for process in started]

    assert results == [(b"", 0)] * 4


def test_newer_database_is_refused_with_a_reason(url: str) -> None:
    """A database written by a newer program is not touched."""
    engine = sync_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()

    with pytest.raises(DatabaseError, match="9999"):
        upgrade(url)


def test_unknown_database_is_refused_with_a_reason() -> None:
    """Only SQLite and PostgreSQL are supported."""
    with pytest.raises(DatabaseError, match="mysql"):
        sync_engine("mysql://root@localhost/hub")


@pytest.mark.parametrize(("driver", "opening"), [("psycopg", sync_engine), ("asyncpg", async_engine)])
def test_missing_driver_is_told(
    monkeypatch: pytest.MonkeyPatch, driver: str, opening: Callable[[str], object]
) -> None:
    """PostgreSQL needs an extra, and the error names it."""
    monkeypatch.setitem(sys.modules, driver, None)

    with pytest.raises(DatabaseError, match="postgres"):
        opening("postgresql://me@localhost/hub")


def test_unreadable_database_is_refused_with_a_reason(tmp_path: Path) -> None:
    """A file that is no database gives an error with its path."""
    (tmp_path / "hubbub.db").write_bytes(b"this is not a database " * 100)

    with pytest.raises(DatabaseError, match=r"hubbub\.db"):
        upgrade(database_url(Settings(data=tmp_path)))


def test_sqlite_is_safe_against_a_power_cut(url: str) -> None:
    """Each connection has WAL, full synchronisation, foreign keys and a busy timeout."""
    engine = sync_engine(url)

    with engine.connect() as connection:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        found = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in names]

    engine.dispose()
    assert found == ["wal", 2, 1, 10_000]


async def test_async_engine_has_the_same_rules(url: str) -> None:
    """Foreign keys hold on the event loop, too."""
    engine = async_engine(url)
    orphan = text("INSERT INTO chunks VALUES (1, 99, 0, '', '', '', x'', '')")

    async with engine.connect() as connection:
        with pytest.raises(IntegrityError):
            await connection.execute(orphan)

    await engine.dispose()


def test_times_come_back_aware_and_in_utc(tmp_path: Path) -> None:
    """What goes in with any zone comes back as the same instant in UTC; naive times are refused."""
    engine = sync_engine(f"sqlite:///{tmp_path}/times.db")
    times = Table("times", MetaData(), Column("id", Integer, primary_key=True), Column("at", UtcDateTime))
    times.metadata.create_all(engine)
    moment = datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=5)))

    with engine.begin() as connection:
        connection.execute(times.insert().values(id=1, at=moment))
        found = connection.execute(select(times.c.at)).scalar_one()
        with pytest.raises(Exception, match="aware"):
            connection.execute(times.insert().values(id=2, at=datetime(2026, 1, 2)))

    engine.dispose()
    assert found == moment
    assert found.tzinfo is UTC


async def test_no_error_tells_what_was_to_be_written(url: str) -> None:
    """Its text goes into logs and to operators; a document or a message has no place there."""
    orphan = text("INSERT INTO chunks VALUES (1, 99, 0, '', :said, '', x'', '')")
    said = {"said": "swordfish"}
    engine, other = sync_engine(url), async_engine(url)

    with engine.connect() as connection, pytest.raises(IntegrityError) as error:
        connection.execute(orphan, said)
    async with other.connect() as connection:
        with pytest.raises(IntegrityError) as other_error:
            await connection.execute(orphan, said)

    engine.dispose()
    await other.dispose()
    assert "FOREIGN KEY" in str(error.value)
    assert "swordfish" not in f"{error.value} {other_error.value}"
