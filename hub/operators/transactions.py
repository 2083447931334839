"""How the tables of operators are read and changed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hub.database import DatabaseError


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a connection that changes nothing.

    Raises: DatabaseError: the database is away.
    """
    try:
        async with engine.connect() as connection:
            yield connection
    except (SQLAlchemyError, OSError) as error:
        raise DatabaseError(f"the operators could not be read: {type(error).__name__}") from error


@asynccontextmanager
async def changing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a transaction that takes its turn: what it reads stays true until it has written.

    Raises: DatabaseError: nothing was changed.
    """
    try:
        async with engine.execution_options(immediate=True).begin() as connection:
            yield connection
    except (SQLAlchemyError, OSError) as error:
        raise DatabaseError(f"the operators could not be changed: {type(error).__name__}") from error
