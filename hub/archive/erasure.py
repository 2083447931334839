"""What the archive holds of a person, for those who remove it from every store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from hub.archive.people import Whose, count_of, erase_of, traces_of, turns_in
from hub.database import async_engine, upgrade
from hub.erasure.person import Person
from hub.messages import Address, Turn


class ArchiveStore:
    """Turns, facts and judgements in SQL; it comes after the streams, from which the archive would be filled again.

    Args:
        url: of the database, without a driver.
    """

    name = "archive"

    def __init__(self, url: str) -> None:
        self._url = url

    async def widen(self, person: Person) -> Person:
        """Learn where the person wrote and which turns are theirs: the windows in Redis know the latest alone."""
        async with self.opened() as engine:
            traces = await traces_of(engine, whose(person))
        return person.with_more(
            conversations=traces.conversations,
            groups=traces.groups - person.conversations,
            turns=traces.turns,
        )

    async def erase(self, person: Person) -> int:
        """Remove what is theirs.

        Raises: DatabaseError: the database cannot be written.
        """
        async with self.opened() as engine:
            return await erase_of(engine, whose(person))

    async def holds(self, person: Person) -> int:
        """Count what is left of them."""
        async with self.opened() as engine:
            return await count_of(engine, whose(person))

    async def turns_in(self, conversation: str, last: int) -> list[Turn]:
        """Return the latest turns of a conversation, oldest first; each says who asked.

        Raises: DatabaseError: the database cannot be read.
        """
        async with self.opened() as engine:
            return await turns_in(engine, conversation, last=last)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[AsyncEngine]:
        """Open the database with its tables up to date."""
        await asyncio.to_thread(upgrade, self._url)
        engine = async_engine(self._url)
        try:
            yield engine
        finally:
            await engine.dispose()


def whose(person: Person) -> Whose:
    """Say whose rows of the archive are a person's."""
    addresses = [
        Address(connector=one.connector, account=one.account, chat="", person=one.person)
        for one in person.principals
    ]
    return Whose(addresses=addresses, identities=person.marks, conversations=person.conversations)
