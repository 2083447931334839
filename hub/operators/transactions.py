"""How the tables of operators are read and changed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hub.database import database_errors


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a connection that changes nothing.

    Raises: DatabaseError: the database is away.
    """
    async with database_errors("the operators could not be read"), engine.connect() as connection:
        yield connection


@asynccontextmanager
async def changing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a transaction that takes its turn: what it reads stays true until it has written.

    Raises: DatabaseError: nothing was changed.
    """
    taking_turns = engine.execution_options(immediate=True)
    async with database_errors("the operators could not be changed"), taking_turns.begin() as connection:
        yield connection
