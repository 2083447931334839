"""What the archive holds of a person, for those who remove it from every store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from hub.archive.people import erase_of, held_of
from hub.database import async_engine, upgrade
from hub.erasure.person import Person
from hub.messages import Address


class ArchiveStore:
    """Turns, facts and judgements in SQL; it comes after the streams, from which the archive would be filled again.

    Args:
        url: of the database, without a driver.
    """

    name = "archive"

    def __init__(self, url: str) -> None:
        self._url = url

    async def erase(self, person: Person) -> int:
        """Remove what is theirs.

        Raises: DatabaseError: the database cannot be written.
        """
        async with self._opened() as engine:
            return await erase_of(engine, _addresses(person))

    async def holds(self, person: Person) -> int:
        """Count what is left of them."""
        async with self._opened() as engine:
            held = await held_of(engine, _addresses(person))
        return sum(len(rows) for rows in held.values())

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[AsyncEngine]:
        await asyncio.to_thread(upgrade, self._url)
        engine = async_engine(self._url)
        try:
            yield engine
        finally:
            await engine.dispose()


def _addresses(person: Person) -> list[Address]:
    return [
        Address(connector=one.connector, account=one.account, chat="", person=one.person)
        for one in sorted(person.principals, key=lambda one: one.mark)
    ]
