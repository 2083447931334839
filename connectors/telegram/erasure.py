"""What the Telegram connector keeps of a person: albums on their way, digests for edits, votes, their chat's state."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from connectors.store import ListedStore
from connectors.telegram.albums import PIECES
from connectors.told import told
from hub.erasure.person import Person
from hub.messages import conversation_id


class TelegramTraces:
    """The connector's state of a person."""

    name = "telegram"

    def __init__(self, store: ListedStore) -> None:
        self._store = store

    async def widen(self, person: Person) -> Person:
        """Add the private chats with the bots, whose number is the person's own."""
        return person.with_more(
            conversations={
                conversation_id("telegram", one.account, one.person)
                for one in person.on("telegram")
                if one.person.isdecimal()
            }
        )

    async def erase(self, person: Person) -> int:
        """Remove it."""
        names = await self._names(person)
        for name in names:
            await self._store.delete(name)
        removed = len(names)
        for bot, _ in _ids(person):
            for album in await self._albums(bot, person):
                await self._store.discard(f"albums:{bot}", album)
                removed += 1
        for name, votes, mine in await self._votes(person):
            left = {who: value for who, value in votes.items() if who not in mine}
            await (self._store.change(name, json.dumps(left)) if left else self._store.delete(name))
            removed += len(mine)
        return removed

    async def holds(self, person: Person) -> int:
        """Count what is left."""
        albums = [album for bot, _ in _ids(person) for album in await self._albums(bot, person)]
        votes = sum(len(mine) for _, _, mine in await self._votes(person))
        return len(await self._names(person)) + len(albums) + votes

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give it to the person; nothing where nobody is named, as it is of no use to another hub."""
        if person is None:
            return
        names = await self._names(person)
        pieces = [name for name in names if name.endswith(PIECES)]
        async for row in told(self._store, [name for name in names if name not in pieces], pieces):
            yield row
        for name, votes, mine in await self._votes(person):
            yield {"name": name, "value": {who: votes[who] for who in sorted(mine)}}

    async def _names(self, person: Person) -> list[str]:
        names: list[str] = []
        for bot, who in _ids(person):
            names += await self._store.names(f"text:{bot}:{who}:")
            # An album is named by its chat and its sender.
            names += [
                name for name in await self._store.names(f"albums:{bot}:") if name.split(":")[3:4] == [who]
            ]
            names += [
                name for name in await self._store.names(f"closed:{bot}:{who}") if name.endswith(f":{who}")
            ]
            # Of a group the digest of a message is kept under who wrote it.
            names += [
                name for name in await self._store.names(f"text:{bot}:") if name.split(":")[3:4] == [who]
            ]
        return sorted(set(names))

    async def _albums(self, bot: str, person: Person) -> list[str]:
        mine = {who for account, who in _ids(person) if account == bot}
        return [
            name for name in await self._store.members(f"albums:{bot}") if mine & set(name.split(":")[1:2])
        ]

    async def _votes(self, person: Person) -> list[tuple[str, dict[str, str], set[str]]]:
        found = []
        for bot in sorted({account for account, _ in _ids(person)}):
            mine = {who for account, who in _ids(person) if account == bot}
            for name in await self._store.names(f"votes:{bot}:"):
                votes: dict[str, str] = json.loads(await self._store.get(name) or "{}")
                if votes.keys() & mine:
                    found.append((name, votes, set(votes.keys() & mine)))
        return found


def external_keys(person: Person) -> Iterator[str]:
    """Give what the keys of albums begin with, which name their chat."""
    for bot, who in _ids(person):
        yield f"tg:{bot}:album:{who}:"


def _ids(person: Person) -> list[tuple[str, str]]:
    return [(one.account, one.person) for one in person.on("telegram")]
