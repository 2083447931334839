"""What a search reads from the database: its own candidates, however many documents there are."""

import sqlite3
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import Engine, event, insert

from hub.settings import Settings
from knowledge.index.homes import index_home
from knowledge.index.keeper import IndexKeeper
from knowledge.ingest import DOCUMENTS
from knowledge.passages import Vectors
from knowledge.retrieval import Finder, Ordering
from knowledge.tables import ChunkRow, DocumentRow
from knowledge.visibility import Visibility

MODEL = "made@0"
DIMENSION = 16
CHUNKS = 20
"""Of each document."""


def put(engine: Engine, documents: int, dice: np.random.Generator) -> None:
    """Store documents that say nothing."""
    with engine.begin() as connection:
        for _ in range(documents):
            document: dict[str, Any] = {
                "collection": DOCUMENTS,
                "root": "made:",
                "location": str(dice.integers(1 << 60)),
            }
            document |= {"title": "Made", "media_type": "text/plain", "version": "0" * 64, "size_bytes": 0}
            query = insert(DocumentRow).values(**document, added_at=datetime.now(UTC))
            number = connection.execute(query.returning(DocumentRow.id)).scalar_one()
            vectors = dice.standard_normal((CHUNKS, DIMENSION), np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            rows = [
                {
                    "document_id": number,
                    "ordinal": ordinal,
                    "heading": "",
                    "text": "Nothing.",
                    "text_hash": f"{number} {ordinal}",
                    "embedding": vector.astype("<f4").tobytes(),
                    "embedding_model": MODEL,
                }
                for ordinal, vector in enumerate(vectors)
            ]
            connection.execute(insert(ChunkRow), rows)


def steps(engine: Engine, settings: Settings, question: Vectors) -> int:
    """Count the instructions, in hundreds, that SQLite takes for a search by meaning."""
    keeper = IndexKeeper(engine, index_home(settings, MODEL), MODEL)
    keeper.open()
    finder = Finder(engine, keeper, Visibility(engine), Ordering())
    finder.find("Lighthouse", question, 8)
    ticks: list[int] = []

    def count(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_progress_handler(lambda: ticks.append(1), 100)

    event.listen(engine, "checkout", count)
    found = finder.find("Lighthouse", question, 8)
    event.remove(engine, "checkout", count)
    assert len(found) == 8
    return len(ticks)


def test_a_search_takes_as_long_among_ten_times_the_documents(engine: Engine, settings: Settings) -> None:
    """The database reads the candidates, not the documents."""
    dice = np.random.default_rng(1)
    question = dice.standard_normal(DIMENSION).astype(np.float32)
    question /= np.linalg.norm(question)
    put(engine, 30, dice)
    few = steps(engine, settings, question)

    put(engine, 270, dice)
    many = steps(engine, settings, question)

    assert few > 0
    assert many < 3 * few
