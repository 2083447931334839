"""The index is held equal to the database, which is the truth."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, delete, select, update
from structlog.testing import capture_logs

from hub.database import database_url, sync_engine, upgrade
from hub.errors import KnowledgeError
from hub.settings import Settings
from knowledge.index.faiss import MANIFEST, FaissHome, FaissIndex
from knowledge.index.keeper import IndexKeeper
from knowledge.passages import Vectors
from knowledge.tables import ChunkRow, DocumentRow, VersionRow
from tests.knowledge.test_lexical import add

MODEL = "m"


def vectors(count: int, seed: int = 0) -> Vectors:
    """Give random unit vectors."""
    rows = np.random.default_rng(seed).normal(size=(count, 16)).astype("<f4")
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


@pytest.fixture
def settings(settings_of_each: Settings) -> Settings:
    """Run on a database of each kind."""
    return settings_of_each


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """Open a database with ten chunks."""
    url = database_url(settings)
    upgrade(url)
    opened = sync_engine(url)
    fill(opened, vectors(10), title="first")
    yield opened
    opened.dispose()


@pytest.fixture
def home(tmp_path: Path) -> FaissHome:
    """Give a folder for the index."""
    return FaissHome(folder=tmp_path / "index", model=MODEL)


def fill(engine: Engine, rows: Vectors, *, title: str) -> list[int]:
    """Add a document whose chunks have these vectors."""
    with engine.begin() as connection:
        ids = add(connection, [f"text {number}" for number in range(len(rows))], title=title)
        for chunk, row in zip(ids, rows, strict=True):
            connection.execute(update(ChunkRow).where(ChunkRow.id == chunk).values(embedding=row.tobytes()))
        connection.execute(update(VersionRow).values(version=VersionRow.version + 1))
    return ids


def truth(engine: Engine) -> set[int]:
    """Give the ids of the chunks in the database."""
    with engine.connect() as connection:
        return set(connection.execute(select(ChunkRow.id)).scalars())


def opened(engine: Engine, home: FaissHome) -> IndexKeeper:
    """Open a keeper as a start does."""
    keeper = IndexKeeper(engine, home, MODEL)
    keeper.open()
    return keeper


def found(keeper: IndexKeeper) -> set[int]:
    """Give the ids that can be found."""
    return {hit.id for hit in keeper.search(vectors(1)[0], 1_000)}


def test_index_is_made_from_the_database(engine: Engine, home: FaissHome) -> None:
    """Where there is none, and saved for the next start."""
    keeper = opened(engine, home)
    keeper.save()

    index, version = home.open()
    assert found(keeper) == truth(engine) == set(index.ids().tolist())
    assert version == keeper.version == 1


def test_index_that_missed_changes_is_brought_up_to_date(engine: Engine, home: FaissHome) -> None:
    """What was added and removed while nobody looked is taken in at the next start."""
    opened(engine, home).save()
    with engine.begin() as connection:
        connection.execute(delete(DocumentRow))
    ids = fill(engine, vectors(4, seed=1), title="second")

    assert found(opened(engine, home)) == truth(engine) == set(ids)


def test_index_with_vectors_nobody_knows_forgets_them(engine: Engine, home: FaissHome) -> None:
    """An index from another database, or from before a backup was restored, is compared at the start."""
    index = FaissIndex(16)
    index.add(np.arange(5_000, 5_020), vectors(20, seed=2))
    home.save(index, 0)

    assert found(opened(engine, home)) == truth(engine)


def test_embeddings_that_are_none_are_left_out_and_told_once(engine: Engine, home: FaissHome) -> None:
    """Damaged rows cost their own chunks only."""
    (bad,) = fill(engine, vectors(1), title="bad")
    with engine.begin() as connection:
        connection.execute(update(ChunkRow).where(ChunkRow.id == bad).values(embedding=b"\0" * 64))

    with capture_logs() as logs:
        keeper = opened(engine, home)
        fill(engine, vectors(1, seed=3), title="good")
        keeper.refresh()

    assert found(keeper) == truth(engine) - {bad}
    assert [entry["event"] for entry in logs].count("embeddings_unusable") == 1


def test_interrupted_save_leaves_the_old_index(
    engine: Engine, home: FaissHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever step fails, the next start opens one of the two."""
    opened(engine, home).save()
    fill(engine, vectors(3, seed=4), title="second")
    keeper = opened(engine, home)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for step in ("_sync", "_sha256"):
        with monkeypatch.context() as patch:
            patch.setattr(f"knowledge.index.faiss.{step}", fail)
            with pytest.raises(KnowledgeError, match="No space left"):
                keeper.save()
        index, version = home.open()
        assert (index.size, version) == (10, 1)
    keeper.save()

    index, version = home.open()
    assert (index.size, version) == (13, 2)
    assert sorted(path.suffix for path in home.folder.iterdir() if path.name != ".lock") == [
        ".faiss",
        ".json",
    ]
    assert (home.folder / MANIFEST).is_file()


def test_chunks_of_another_model_are_not_in_the_index(engine: Engine, home: FaissHome) -> None:
    """Vectors of two models are never compared."""
    ids = fill(engine, vectors(2, seed=5), title="other")
    with engine.begin() as connection:
        connection.execute(update(ChunkRow).where(ChunkRow.id.in_(ids)).values(embedding_model="other"))

    assert found(opened(engine, home)) == truth(engine) - set(ids)
