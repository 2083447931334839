"""A person is removed from a PostgreSQL database, down to the bytes of its files, or it is told what is in the way."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from hub.database import sync_engine
from hub.erasure.database_files import PostgresqlTables
from hub.erasure.files import FilesNotRewritten
from hub.erasure.person import Principal
from hub.erasure.scanner import scan_tables
from tests.hub.erasure import database
from tests.hub.erasure.world import ANA, BEN, BOT, MAILBOX, World
from tests.servers.postgresql import PostgresqlServer
from tests.servers.redis import RedisServer

WORDS = [ANA.word, ANA.mail]
NAMED = (
    Principal(connector="telegram", account=BOT, person=ANA.number),
    Principal(connector="email", account=MAILBOX, person=ANA.mail),
)


@pytest.fixture
def url(postgresql: PostgresqlServer) -> Iterator[str]:
    """The URL of a database with all tables."""
    with postgresql.database() as address:
        yield address


@pytest.fixture
async def world(own_redis: RedisServer, data: Path, url: str) -> AsyncIterator[World]:
    """An empty hub."""
    world = World(own_redis, data, database_url=url)
    yield world
    await world.close()


async def test_nothing_of_a_person_is_left_in_the_database_or_its_files(
    world: World, url: str, postgresql: PostgresqlServer
) -> None:
    """Nor in the statistics, for which PostgreSQL takes samples of what the tables hold; of others all is there."""
    await world.live_through(ANA)
    await world.live_through(BEN)
    postgresql.run("ANALYZE", url.rpartition("/")[2])
    before = await world.picture_of(BEN)
    assert all(word.encode() in postgresql.bytes_of(url) for word in (ANA.word, BEN.word))
    assert {one.place for one in scan_tables(url, WORDS)} >= {f"database {name}" for name in _tables()}

    receipt = await world.eraser().erase(*NAMED)

    assert "database_tables" in receipt.files
    assert sum(receipt.left.values()) == 0
    kept = postgresql.bytes_of(url)
    assert [word for word in (*WORDS, ANA.word.lower()) if word.encode() in kept] == []
    assert BEN.word.encode() in kept
    assert list(scan_tables(url, WORDS)) == []
    assert await world.picture_of(BEN) == before


def _tables() -> list[str]:
    return [table.__tablename__ for table in database.TABLES if table.__tablename__ != "archived_feedback"]


async def test_what_an_older_transaction_may_look_at_is_told(world: World, url: str) -> None:
    """It cannot go before that has ended, and then it goes."""
    await world.live_through(ANA)
    reader, files = sync_engine(url), PostgresqlTables(url, patience_s=0.5)
    with reader.execution_options(isolation_level="REPEATABLE READ").connect() as connection:
        connection.execute(text("SELECT count(*) FROM api_keys"))
        await asyncio.to_thread(_delete_turns, url)
        with pytest.raises(FilesNotRewritten, match="older transaction"):
            await files.compact()

    await files.compact()
    reader.dispose()


async def test_a_table_that_somebody_else_owns_or_holds_is_told(
    url: str, postgresql: PostgresqlServer
) -> None:
    """PostgreSQL passes over the one with a warning, and would wait for the other for ever."""
    name = url.rpartition("/")[2]
    postgresql.run("DROP ROLE IF EXISTS guest")
    postgresql.run("CREATE ROLE guest LOGIN")
    postgresql.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest", name)
    holder = sync_engine(url)

    with pytest.raises(FilesNotRewritten, match="owns"):
        await PostgresqlTables(url.replace("postgres@", "guest@")).compact()
    with holder.begin() as connection:
        connection.execute(text("LOCK TABLE archived_facts IN SHARE MODE"))
        with pytest.raises(FilesNotRewritten, match="lock timeout"):
            await PostgresqlTables(url, patience_s=0.3).compact()

    holder.dispose()


def _delete_turns(url: str) -> None:
    engine = sync_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM archived_turns"))
    engine.dispose()
