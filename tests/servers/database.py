"""A database in which every query fails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from hub.database import async_engine


@asynccontextmanager
async def database_without_tables(folder: Path) -> AsyncIterator[AsyncEngine]:
    """Open one.

    Not a file that cannot be opened: aiosqlite tells the event loop of that from a thread, which may be after the end of
    the loop, and the error then shows in whichever test comes later.
    """
    engine = async_engine(f"sqlite:///{folder / 'empty.db'}")
    try:
        yield engine
    finally:
        await engine.dispose()
