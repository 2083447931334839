"""What the database holds of somebody: the archive, open questions, documents that are theirs alone."""

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sqlalchemy import Engine, insert, select

from hub.archive.tables import ArchivedFactRow, ArchivedFeedbackRow, ArchivedTurnRow
from hub.database import Base, database_url, sync_engine, upgrade
from hub.messages import Address, utc_now
from hub.people import principal_of
from hub.settings import Settings
from knowledge.gaps.tables import GapRow
from knowledge.passages import Vectors
from knowledge.tables import ChunkRow, CollectionRow, DocumentRow

TABLES: tuple[type[Base], ...] = (
    ArchivedTurnRow,
    ArchivedFactRow,
    ArchivedFeedbackRow,
    GapRow,
    CollectionRow,
    DocumentRow,
    ChunkRow,
)


def vector_of(word: str) -> Vectors:
    """Make a unit vector that nothing else has, shape (8,)."""
    row = np.frombuffer(hashlib.sha256(word.encode()).digest(), "u1")[:8].astype("<f4") - 100
    unit: Vectors = row / np.linalg.norm(row)
    return unit


async def plant(settings: Settings, address: Address, conversation: str, turn: str, word: str) -> int:
    """Let every table hold something of somebody; returns the id of the chunk of their own document."""
    return await asyncio.to_thread(_plant, settings, address, conversation, turn, word)


def _plant(settings: Settings, address: Address, conversation: str, turn: str, word: str) -> int:
    now, mark = utc_now(), principal_of(address)
    who = {"connector": address.connector, "account": address.account, "person": address.person}
    rows: dict[type[Base], dict[str, Any]] = {
        ArchivedTurnRow: {
            **who,
            "conversation": conversation,
            "turn": turn,
            "place": turn,
            "identity": mark,
            "is_group": False,
            "kind": "answer",
            "code": "",
            "route": "model",
            "model": "m",
            "question": f"Where is {word}?",
            "answer": f"{word} is here.",
            "sources": [],
            "asked_at": now,
            "answered_at": now,
            "delivery": "placed",
            "unclear_sends": 0,
        },
        ArchivedFactRow: {
            **who,
            "conversation": conversation,
            "owner": "",
            "identity": mark,
            "key": "name",
            "text": f"My name is {word}.",
            "quote": word,
            "found_by": "rules",
            "turn": turn,
            "place": turn,
            "told_at": now,
        },
        ArchivedFeedbackRow: {
            "conversation": conversation,
            "turn": turn,
            "person": address.person,
            "connector": address.connector,
            "value": "up",
            "judged_at": now,
        },
        GapRow: {
            "turn": turn,
            "ordinal": 0,
            "conversation": conversation,
            "connector": address.connector,
            "text": f"Who is {word}?",
            "language": "en",
            "asked_at": now,
            "embedding": b"\0" * 8,
            "embedding_model": "m",
        },
        CollectionRow: {"name": f"of-{word}", "audience": f"person:{mark}", "created_at": now},
        DocumentRow: {
            "collection": f"of-{word}",
            "root": "/",
            "location": f"{word}.txt",
            "title": word,
            "media_type": "text/plain",
            "version": "v",
            "size_bytes": 1,
            "added_at": now,
        },
    }
    with _opened(settings) as engine, engine.begin() as connection:
        for table, values in rows.items():
            connection.execute(insert(table).values(values))
        document = connection.execute(select(DocumentRow.id).where(DocumentRow.title == word)).scalar_one()
        chunk = insert(ChunkRow).values(
            document_id=document,
            ordinal=0,
            heading="",
            text=f"All about {word}.",
            text_hash=word,
            embedding=vector_of(word).tobytes(),
            embedding_model="m",
        )
        return int(connection.execute(chunk.returning(ChunkRow.id)).scalar_one())


async def ask_in_group(settings: Settings, conversation: str, askers: list[str]) -> None:
    """Let each of some people leave an open question in a group."""
    now = utc_now()
    rows = [
        {
            "turn": f"{asker} 0" if asker else "0",
            "ordinal": 0,
            "conversation": conversation,
            "connector": "telegram",
            "text": f"Who is {asker}?",
            "language": "en",
            "asked_at": now,
            "embedding": b"\0" * 8,
            "embedding_model": "m",
        }
        for asker in askers
    ]

    def plant_rows() -> None:
        with _opened(settings) as engine, engine.begin() as connection:
            connection.execute(insert(GapRow), rows)

    await asyncio.to_thread(plant_rows)


async def rows_naming(settings: Settings, marks: list[str]) -> list[str]:
    """Return every row that holds one of these words."""
    return await asyncio.to_thread(_rows_naming, settings, marks)


def _rows_naming(settings: Settings, marks: list[str]) -> list[str]:
    found = []
    with _opened(settings) as engine, engine.connect() as connection:
        for table in TABLES:
            rows = map(str, connection.execute(select(table.__table__)))
            found += [f"{table.__tablename__} {row}" for row in rows if any(mark in row for mark in marks)]
    return found


@contextmanager
def _opened(settings: Settings) -> Iterator[Engine]:
    """Open the database, which is up to date."""
    url = database_url(settings)
    upgrade(url)
    engine = sync_engine(url)
    yield engine
    engine.dispose()
