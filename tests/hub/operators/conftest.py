"""Fixtures of the operators' tests: cheap passwords, on each kind of database."""

from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.database import async_engine, upgrade
from hub.operators.passwords import Passwords
from hub.operators.sessions import Sessions
from hub.operators.store import Operator, OperatorStore
from tests.hub.operators.desk import CHEAP, PASSWORD
from tests.servers.postgresql import PostgresqlServer


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def operators_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One database of each kind for all of these tests."""
    if request.param == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        with server.database() as url:
            yield url
        return
    url = f"sqlite:///{tmp_path_factory.mktemp('operators') / 'hubbub.db'}"
    upgrade(url)
    yield url


@pytest.fixture
async def database(operators_url: str) -> AsyncIterator[AsyncEngine]:
    """It, without a row of an earlier test."""
    engine = async_engine(operators_url)
    async with engine.begin() as connection:
        for table in ("operators", "operator_signing_keys", "audit"):
            await connection.execute(text(f"DELETE FROM {table}"))
    yield engine
    await engine.dispose()


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """Passwords that cost little."""
    made = Passwords(CHEAP)
    yield made
    made.close()


@pytest.fixture
def store(database: AsyncEngine, passwords: Passwords) -> OperatorStore:
    """The accounts."""
    return OperatorStore(database, passwords)


@pytest.fixture
def sessions(database: AsyncEngine, passwords: Passwords) -> Sessions:
    """The sessions."""
    return Sessions(database, passwords, CHEAP)


@pytest.fixture
async def ana(store: OperatorStore) -> Operator:
    """The first operator, an admin."""
    return await store.add("ana", None, PASSWORD)
