"""The database: its pragmas, its migrations, and what two processes at once do to it."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import Column, Engine, Integer, MetaData, Table, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

import hub.audit
import hub.operators.tables  # noqa: F401 - declares its models
import knowledge.gaps.tables  # noqa: F401 - declares its models
from hub import database
from hub.archive.search import matching
from hub.archive.tables import ArchivedTurnRow
from hub.database import (
    BUSY_TIMEOUT_MS,
    Base,
    DatabaseError,
    UtcDateTime,
    async_engine,
    database_url,
    opened,
    sync_engine,
    upgrade,
)
from hub.settings import Settings
from knowledge.tables import ChunkRow
from tests.migrating import migrate
from tests.servers.postgresql import PostgresqlServer

AT = datetime(2026, 1, 2, tzinfo=UTC)
TURN = {
    **dict.fromkeys(("connector", "account", "person", "identity", "kind", "code", "route", "model"), "x"),
    "conversation": "c",
    "turn": "1-0",
    "place": "1",
    "question": "q",
    "answer": "a",
    "delivery": "",
    "is_group": False,
    "sources": [],
    "asked_at": AT,
    "answered_at": AT,
    "unclear_sends": 0,
}
"""One row of the archive."""


@pytest.fixture
def url(every_database: str) -> str:
    """Give the URL of an upgraded database of its own."""
    return every_database


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """Open it."""
    engine = sync_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of a database without tables."""
    if request.param == "sqlite":
        yield database_url(Settings(data=tmp_path))
        return
    with request.getfixturevalue("postgresql").database("template0") as address:
        yield address


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


def test_models_and_migrations_agree(engine: Engine) -> None:
    """The migrations create exactly what the models declare."""
    ours = Base.metadata.tables.keys()
    by_migrations = {
        "ix_archived_turns_words",
        "ix_documents_location",
        "uq_documents_collection_root_location",
    }
    other_ways = by_migrations if engine.dialect.name == "postgresql" else set()

    def is_compared(_: object, name: str, kind: str, *more: object) -> bool:
        return name in ours if kind == "table" else name not in other_ways

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_compared})
        differences = compare_metadata(context, Base.metadata)

    assert differences == []


def test_api_key_table_has_its_columns(engine: Engine) -> None:
    """Nothing of a key is kept beyond these."""
    columns = {column["name"] for column in inspect(engine).get_columns("api_keys")}

    names = "id hash tier label scopes networks created_at expires_at revoked_at rotated_at last_used_at"
    assert columns == set(names.split())


def test_documents_of_before_collections_stay_for_everybody(engine: Engine) -> None:
    """What could be read before an upgrade can be read after it; going back leaves nothing that was for few."""
    values = "'t', 'text/plain', 'v', 1, '2026-01-01'"
    columns = "collection, root, location, title, media_type, version, size_bytes, added_at"
    migrate(engine, "0003")
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO documents ({columns}) VALUES ('other', '/a', 'a', {values})"))

    migrate(engine, "0004")

    with engine.begin() as connection:
        found = connection.execute(text("SELECT name, audience FROM collections ORDER BY name")).all()
        assert [tuple(row) for row in found] == [
            (name, "public") for name in ("bundled", "documents", "other")
        ]
        assert connection.execute(text("SELECT source_version FROM documents")).scalars().all() == [""]
        connection.execute(text("INSERT INTO collections VALUES ('staff', 'operator', '2026-01-01')"))
        more = f"INSERT INTO documents ({columns}) VALUES ('staff', '/a', 'b', {values})"
        connection.execute(text(more))
    migrate(engine, "0003")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT location FROM documents")).scalars().all() == ["a"]


def test_every_step_leads_back(engine: Engine) -> None:
    """Down to the first, and up again with what was said in between: it is found by its words."""
    migrate(engine, "base")
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}
    for step in ("0001", "0002", "0005", "head"):
        migrate(engine, step)
        if step == "0002":
            with engine.begin() as connection:
                connection.execute(insert(ArchivedTurnRow).values(TURN | {"question": "Le café à Paris"}))

    with engine.connect() as connection:
        for words in ("cafe", "CAFÉ", "par"):
            found = select(ArchivedTurnRow.turn).where(next(matching(words, engine.dialect.name)))
            assert connection.execute(found).scalars().all() == ["1-0"]


def test_upgrade_twice_changes_nothing(engine: Engine, url: str) -> None:
    """A second upgrade leaves the rows alone."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE knowledge_version SET version = 7"))

    upgrade(url)

    with engine.connect() as connection:
        assert connection.execute(text("SELECT version FROM knowledge_version")).scalar() == 7


def test_many_processes_may_upgrade_at_once(empty: str) -> None:
    """Four processes that start together find one database, upgraded once."""
    program = f"from hub.database import upgrade; upgrade({empty!r})"

    started = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(4)]
    results = [(process.communicate()[1], process.returncode) for process in started]

    assert results == [(b"", 0)] * 4


def test_newer_database_is_refused_with_a_reason(engine: Engine, url: str) -> None:
    """A database written by a newer program is not touched."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(DatabaseError, match="9999"):
        upgrade(url)


def test_unknown_database_is_refused_with_a_reason() -> None:
    """Only SQLite and PostgreSQL are supported."""
    with pytest.raises(DatabaseError, match="mysql"):
        sync_engine("mysql://root@localhost/hub")


@pytest.mark.parametrize("opening", [sync_engine, async_engine])
def test_missing_driver_is_told(monkeypatch: pytest.MonkeyPatch, opening: Callable[[str], object]) -> None:
    """PostgreSQL needs an extra, and the error names it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(DatabaseError, match="postgres"):
        opening("postgresql://me@localhost/hub")


def test_unreadable_database_is_refused_with_a_reason(tmp_path: Path) -> None:
    """A file that is no database gives an error with its path."""
    (tmp_path / "hubbub.db").write_bytes(b"this is not a database " * 100)

    with pytest.raises(DatabaseError, match=r"hubbub\.db"):
        upgrade(database_url(Settings(data=tmp_path)))


def test_sqlite_is_safe_against_a_power_cut(tmp_path: Path) -> None:
    """Each connection has WAL, full synchronisation, foreign keys and a busy timeout."""
    engine = sync_engine(database_url(Settings(data=tmp_path)))

    with engine.connect() as connection:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        found = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in names]

    engine.dispose()
    assert found == ["wal", 2, 1, 10_000]


async def test_async_engine_has_the_same_rules(url: str) -> None:
    """Foreign keys hold on the event loop, too."""
    engine = async_engine(url)
    orphan = text("INSERT INTO chunks VALUES (1, 99, 0, '', '', '', '', '')")

    async with engine.connect() as connection:
        with pytest.raises(IntegrityError):
            await connection.execute(orphan)

    await engine.dispose()


def test_times_come_back_aware_and_in_utc(engine: Engine) -> None:
    """What goes in with any zone comes back as the same instant in UTC; naive times are refused."""
    times = Table("times", MetaData(), Column("id", Integer, primary_key=True), Column("at", UtcDateTime))
    times.metadata.create_all(engine)
    moment = datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=5)))

    with engine.begin() as connection:
        connection.execute(times.insert().values(id=1, at=moment))
        found = connection.execute(select(times.c.at)).scalar_one()
        with pytest.raises(Exception, match="aware"):
            connection.execute(times.insert().values(id=2, at=datetime(2026, 1, 2)))

    assert found == moment
    assert found.tzinfo is UTC


async def test_no_error_tells_what_was_to_be_written(url: str) -> None:
    """Its text goes into logs and to operators; a document or a message has no place there."""
    orphan = insert(ChunkRow).values(
        document_id=99, ordinal=0, heading="", text_hash="", embedding=b"", embedding_model=""
    )
    said = {"text": "swordfish"}
    engine, other = sync_engine(url), async_engine(url)

    with engine.connect() as connection, pytest.raises(IntegrityError) as error:
        connection.execute(orphan, said)
    async with other.connect() as connection:
        with pytest.raises(IntegrityError) as other_error:
            await connection.execute(orphan, said)

    engine.dispose()
    await other.dispose()
    assert "foreign key" in str(error.value).lower()
    assert "swordfish" not in f"{error.value} {other_error.value}"


def test_what_no_database_takes_is_stored_all_the_same(engine: Engine) -> None:
    """NUL and halves of surrogate pairs become U+FFFD, and what is looked for is changed alike."""
    with engine.begin() as connection:
        connection.execute(
            insert(ArchivedTurnRow).values(TURN | {"question": "a\0b\ud800c", "person": "x\0"})
        )
        own = select(ArchivedTurnRow.question).where(ArchivedTurnRow.person == "x\0")

        assert connection.execute(own).scalars().all() == ["a\ufffdb\ufffdc"]


async def test_writers_take_turns(engine: Engine, url: str) -> None:
    """What a transaction reads stays true until it writes, whichever driver the other uses."""
    other = async_engine(url).execution_options(immediate=True)
    order = []

    async def second() -> None:
        async with other.begin() as connection:
            order.append("second reads")
            await connection.execute(text("UPDATE knowledge_version SET version = version + 1"))

    with engine.execution_options(immediate=True).begin() as connection:
        version = connection.execute(text("SELECT version FROM knowledge_version")).scalar_one()
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0.2)
        order.append("first writes")
        connection.execute(text("UPDATE knowledge_version SET version = :new"), {"new": version + 10})
    await waiting

    await other.dispose()
    assert order == ["first writes", "second reads"]
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version FROM knowledge_version")).scalar() == version + 11


def test_a_writer_that_hangs_does_not_stop_the_others_for_good(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for a turn is told after a while what is in the way."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", BUSY_TIMEOUT_MS // 100)
    with opened(url) as engine:
        writing = engine.execution_options(immediate=True)

        with (
            writing.begin(),
            pytest.raises(DatabaseError, match=r"lock timeout|is locked"),
            opened(url) as other,
            other.execution_options(immediate=True).begin(),
        ):
            pass


def test_a_database_that_cannot_hold_every_text_is_refused(postgresql: PostgresqlServer) -> None:
    """The error says how to make another."""
    postgresql.run("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")

    with pytest.raises(DatabaseError, match=r"LATIN1.*--encoding UTF8"):
        upgrade(postgresql.url("latin"))


async def test_options_of_the_url_are_for_both_ways_of_opening(postgresql: PostgresqlServer) -> None:
    """Such as those about encryption, or the folder of a socket."""
    url = f"postgresql://postgres@/postgres?host={postgresql.folder}&port={postgresql.port}&sslmode=disable"
    ones, engines = select(text("1")), (sync_engine(url), async_engine(url))

    with engines[0].connect() as connection:
        assert connection.execute(ones).scalar() == 1
    async with engines[1].connect() as opened:
        assert (await opened.execute(ones)).scalar() == 1

    engines[0].dispose()
    await engines[1].dispose()
