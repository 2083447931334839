"""The documents in the database while several processes change them at once."""

import asyncio
import sys
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import func, select, text

from hub.archive.projector import Projector
from hub.archive.tables import ArchivedTurnRow
from hub.bus.connection import connect_reader
from hub.bus.history import History
from hub.database import async_engine, sync_engine
from knowledge.tables import ChunkRow, DocumentRow, VersionRow
from tests.hub.archive.test_projector import say
from tests.servers.redis import RedisServer

PROCESSES = 3
ROUNDS = 25
PLACES = 4
CHUNKS = 6
WRITER = f"""
import random, sys
from hub.database import sync_engine
from knowledge.chunks import Chunk
from knowledge.library import Library
from knowledge.reading import ReadDocument
from knowledge.store import DocumentStore, EmbeddedChunk, Place

url, name = sys.argv[1:]
dice, store = random.Random(name), DocumentStore(sync_engine(url))
store.open_collection("shared", "public")
for number in range({ROUNDS}):
    texts = [f"{{name}} writes {{number}} {{part}}" for part in range({CHUNKS})]
    chunks = [EmbeddedChunk(chunk=Chunk(heading="", text=text), text_hash=text, embedding=b"") for text in texts]
    place = Place(collection="shared", root="web:x", location=str(dice.randrange({PLACES})))
    document = ReadDocument(title=name, media_type="text/plain", version="v", size_bytes=1, chunks=())
    known = store.known_of("shared", "web:x")
    old = known.get(place.location)
    store.put(place, document, chunks, "m", old=old.id if old else None)
    if number % 7 == 3 and known:
        store.remove(dice.choice(list(known.values())).id)
"""


async def test_processes_write_the_same_documents_and_the_archive_at_once(
    every_database: str, redis: Redis, redis_server: RedisServer
) -> None:
    """Each place holds one document, whole; every change is counted; and nobody fails for another's sake."""
    database, reader = async_engine(every_database), connect_reader(redis_server.url)
    projector = Projector(redis, reader, History(redis), database)
    for number in range(1, 41):
        await say(redis, number, f"question {number}", f"c{number % 5}")
    writing = asyncio.gather(*(_write(every_database, f"writer{number}") for number in range(PROCESSES)))
    while not writing.done():
        await projector.rebuild()
        await projector.catch_up()
        await asyncio.sleep(0)

    assert await writing == [(0, b"")] * PROCESSES
    engine = sync_engine(every_database)
    with engine.connect() as connection:
        rows = connection.execute(select(DocumentRow.id, DocumentRow.location)).all()
        changes = connection.execute(select(VersionRow.version)).scalar_one()
        assert len({row.location for row in rows}) == len(rows) <= PLACES
        assert changes >= PROCESSES * ROUNDS
        for row in rows:
            ids = _chunks(connection, row.id)
            assert ids == list(range(ids[0], ids[0] + CHUNKS))
        assert connection.execute(text("SELECT count(*) FROM chunk_words")).scalar() == CHUNKS * len(rows)
        assert connection.execute(select(func.count(ArchivedTurnRow.id))).scalar_one() == 40
    engine.dispose()
    await reader.aclose()
    await database.dispose()


async def _write(url: str, name: str) -> tuple[int | None, bytes]:
    """Let a process write; returns its exit code and what it complained of."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, url, name, stderr=pipe)
    _, complaint = await process.communicate()
    return process.returncode, complaint


def _chunks(connection: Any, document: int) -> list[int]:
    chosen = select(ChunkRow.id).where(ChunkRow.document_id == document).order_by(ChunkRow.ordinal)
    return list(connection.execute(chosen).scalars())
