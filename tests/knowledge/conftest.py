"""What the tests of the knowledge base share: one loaded model, and a base over an empty data folder."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from hub.database import database_url, sync_engine, upgrade
from hub.settings import KnowledgeSettings, Settings
from knowledge import search
from knowledge.embedder import Embedder
from knowledge.search import KnowledgeBase
from knowledge.store import DocumentStore


@pytest.fixture(scope="session")
def embedder() -> Iterator[Embedder]:
    """Give the bundled model, loaded once."""
    model = Embedder(KnowledgeSettings())
    model.start().result()
    yield model
    model.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Give settings over a data folder of their own, without the project's own documents."""
    return Settings(data=tmp_path / "data", knowledge=KnowledgeSettings(bundled_docs=False))


@pytest.fixture
def settings_of_each(every_database: str, data: Path) -> Settings:
    """Give such settings with a database of each kind in turn; modules take them as their `settings`."""
    knowledge = KnowledgeSettings(bundled_docs=False, readers=1)
    return Settings(data=data, database_url=SecretStr(every_database), knowledge=knowledge)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """Open a database of its own."""
    url = database_url(settings)
    upgrade(url)
    opened = sync_engine(url)
    yield opened
    opened.dispose()


@pytest.fixture
def store(engine: Engine) -> DocumentStore:
    """Give the documents in it."""
    return DocumentStore(engine)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give an empty folder for documents."""
    path = tmp_path / "docs"
    path.mkdir()
    return path


@pytest.fixture
async def base(settings: Settings) -> AsyncIterator[KnowledgeBase]:
    """Give an open, empty knowledge base."""
    opened = await search.KnowledgeBase.open(settings)
    yield opened
    await opened.close()
