"""`archive`: what was said, as the database keeps it."""

import asyncio
import sys

from sqlalchemy import func, select

from hub.archive.projector import Projector
from hub.archive.tables import ArchivedTurnRow
from hub.bus.connection import connect_reader
from hub.cli.database import audited, opened_bus, opened_database
from hub.cli.printing import print_json
from hub.cli.progress import working
from hub.database import database_errors
from hub.settings import Settings


def rebuild_archive(settings: Settings, *, as_json: bool) -> None:
    """Read everything again that Redis still holds, and print how many turns the archive has then.

    Raises: HubError: no hub runs on these settings, Redis is away, or the database cannot be written.
    """

    async def main() -> tuple[int, int]:
        async with opened_bus(settings) as bus, opened_database(settings) as engine:
            reader = connect_reader(bus.url)
            projector = Projector(bus.redis, reader, bus.history, engine, shards=settings.bus.shards)
            try:
                read = await projector.rebuild()
                await projector.catch_up()
            finally:
                await reader.aclose()
            async with database_errors("the archive could not be read"), engine.connect() as connection:
                kept = await connection.scalar(select(func.count()).select_from(ArchivedTurnRow))
            return read, kept or 0

    with audited(settings, "archive rebuild") as noted:
        with working("reading what Redis holds", hidden=as_json):
            read, kept = asyncio.run(main())
        noted.done("archive_rebuilt", turns=kept)
    if as_json:
        print_json({"read": read, "turns": kept})
        return
    sys.stdout.write(f"{read} turns read from Redis; the archive holds {kept}.\n")
