"""`archive`: what was said, as the database keeps it."""

import asyncio
import sys

import orjson
from sqlalchemy import func, select

from hub.app import redis_url
from hub.archive.archive import database_errors
from hub.archive.projector import Projector
from hub.archive.tables import ArchivedTurnRow
from hub.bus.bus import Bus
from hub.bus.connection import connect_reader
from hub.cli.database import audited
from hub.cli.progress import working
from hub.database import async_engine, database_url, upgrade
from hub.settings import Settings


def rebuild_archive(settings: Settings, *, as_json: bool) -> None:
    """Read everything again that Redis still holds, and print how many turns the archive has then.

    Raises: HubError: no hub runs on these settings, Redis is away, or the database cannot be written.
    """
    url = database_url(settings)
    upgrade(url)

    async def main() -> tuple[int, int]:
        bus, engine = Bus(redis_url(settings), settings.bus), async_engine(url)
        reader = connect_reader(bus.url)
        projector = Projector(bus.redis, reader, bus.history, engine, shards=settings.bus.shards)
        try:
            read = await projector.rebuild()
            await projector.catch_up()
            async with database_errors("the archive could not be read"), engine.connect() as connection:
                kept = await connection.scalar(select(func.count()).select_from(ArchivedTurnRow))
            return read, kept or 0
        finally:
            await reader.aclose()
            await engine.dispose()
            await bus.close()

    with audited(settings, "archive rebuild") as noted:
        with working("reading what Redis holds", hidden=as_json):
            read, kept = asyncio.run(main())
        noted.done("archive_rebuilt", turns=kept)
    if as_json:
        sys.stdout.write(orjson.dumps({"read": read, "turns": kept}).decode() + "\n")
        return
    sys.stdout.write(f"{read} turns read from Redis; the archive holds {kept}.\n")
