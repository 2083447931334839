"""No file of the vector index keeps what was removed from the documents."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, delete, insert

from hub.database import sync_engine, upgrade
from hub.messages import utc_now
from knowledge.erasure import VectorFiles
from knowledge.index.faiss import FaissHome
from knowledge.index.keeper import IndexKeeper
from knowledge.passages import Vectors
from knowledge.store import change
from knowledge.tables import ChunkRow, DocumentRow

DIMENSION = 16


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Open a database with two documents of ten chunks each."""
    url = _url(tmp_path)
    upgrade(url)
    opened = sync_engine(url)
    rows = _vectors()
    with change(opened) as connection:
        for document in (1, 2):
            values = {
                "id": document,
                "collection": "documents",
                "root": "/",
                "location": str(document),
                "title": "t",
                "media_type": "text/plain",
                "version": "v",
                "size_bytes": 1,
                "added_at": utc_now(),
            }
            connection.execute(insert(DocumentRow).values(values))
        for number in range(20):
            values = {
                "document_id": 1 + number // 10,
                "ordinal": number,
                "heading": "",
                "text": "x",
                "text_hash": str(number),
                "embedding": rows[number].tobytes(),
                "embedding_model": "m",
            }
            connection.execute(insert(ChunkRow).values(values))
    yield opened
    opened.dispose()


def _url(folder: Path) -> str:
    return f"sqlite:///{folder / 'hubbub.db'}"


def _vectors() -> Vectors:
    rows = np.random.default_rng(1).normal(size=(20, DIMENSION)).astype(np.float32)
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _held(folder: Path) -> list[int]:
    written = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    return [number for number, row in enumerate(_vectors()) if row.tobytes() in written]


def _remove(engine: Engine, document: int) -> None:
    with change(engine) as connection:
        connection.execute(delete(DocumentRow).where(DocumentRow.id == document))


async def test_the_files_are_brought_up_to_date_with_the_database(engine: Engine, tmp_path: Path) -> None:
    """Whether an engine runs or not; and the last one takes the files with it."""
    folder = tmp_path / "index"
    keeper = IndexKeeper(engine, FaissHome(folder=folder, model="m"), "m")
    keeper.open()
    keeper.save()
    assert _held(folder) == list(range(20))
    # A kill in the middle of writing has left this.
    (folder / "vectors-0.faiss").write_bytes(_vectors()[3].tobytes())

    _remove(engine, 1)
    await VectorFiles(_url(tmp_path), folder).compact()
    assert _held(folder) == list(range(10, 20))

    _remove(engine, 2)
    await VectorFiles(_url(tmp_path), folder).compact()
    assert _held(folder) == []


async def test_an_engine_that_has_not_heard_of_it_writes_nothing_back(engine: Engine, tmp_path: Path) -> None:
    """It saves its index when it ends."""
    folder = tmp_path / "index"
    IndexKeeper(engine, FaissHome(folder=folder, model="m"), "m").open()
    old = IndexKeeper(engine, FaissHome(folder=folder, model="m"), "m")
    old.open()

    _remove(engine, 1)
    await VectorFiles(_url(tmp_path), folder).compact()
    old.save()

    assert _held(folder) == list(range(10, 20))


async def test_files_that_cannot_be_read_are_removed(engine: Engine, tmp_path: Path) -> None:
    """They are made from the database when they are needed."""
    folder = tmp_path / "index"
    keeper = IndexKeeper(engine, FaissHome(folder=folder, model="m"), "m")
    keeper.open()
    keeper.save()
    (folder / "manifest.json").write_text("{")

    await VectorFiles(_url(tmp_path), folder).compact()

    assert _held(folder) == []
