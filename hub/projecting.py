"""Projections: what the database makes of the events streams, read on from the position that stands beside it.

What was made and how far the reading has come are written in one transaction, so that a kill at any point repeats or
loses nothing; any number of processes may project, and who finds the position moved begins again from there.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from hub.database import DatabaseError
from hub.errors import BusError
from hub.waiting import happens

log = structlog.get_logger(__name__)

PAUSE_S = 1.0
"""After Redis or the database was away."""
GATHER_S = 0.2
"""After some events, so that one transaction serves all that come close together: each of its own costs a multiple."""
START = "0-0"


class PositionMoved(Exception):
    """Another process has projected these events."""


async def keep_up(
    step: Callable[[], Awaitable[int]],
    forget: Callable[[], None],
    stop: asyncio.Event,
    *,
    batch: int,
    name: str,
) -> None:
    """Project until `stop` is set.

    Args:
        step: projects what comes next, and waits for it for a while; returns how many events there were.
        forget: lets the next step read the positions anew.
        batch: events of one step; where there were as many, more lie there already.
        name: what is made, for the log.
    """
    while not stop.is_set():
        try:
            events = await step()
            if 0 < events < batch:
                await happens(stop, within_s=GATHER_S)
        except PositionMoved:
            forget()
        except (BusError, DatabaseError) as error:
            log.warning(f"{name}_interrupted", error=str(error))
            forget()
            await happens(stop, within_s=PAUSE_S)


async def move_on(connection: AsyncConnection, table: Any, stream: str, since: str, last: str) -> None:
    """Move a position of a table with `stream` and `position`, in the transaction of what was made.

    Raises: PositionMoved: it does not stand where the reading began.
    """
    moved = await connection.execute(
        update(table).where(table.stream == stream, table.position == since).values(position=last)
    )
    if not moved.rowcount:
        raise PositionMoved
