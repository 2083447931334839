"""What the web channel keeps of a visitor: files, limits, an address that was left, answers that wait for it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from pydantic import ValidationError

from connectors.store import ListedStore
from connectors.told import told
from connectors.web.kept_files import KeptFile
from connectors.web.mailed import Due, mails_key, read_left
from hub.erasure.person import Person
from hub.messages import conversation_id

_OF_CONVERSATION = ("leave", "leaves", "here")
_OF_TURN = ("due", "got", "handing", "counted", "mailed")


class WebTraces:
    """The channel's state of a visitor."""

    name = "web"

    def __init__(self, store: ListedStore) -> None:
        self._store = store

    async def widen(self, person: Person) -> Person:
        """Add the conversations, which are named by site and visitor."""
        return person.with_more(
            conversations={conversation_id("web", one.account, one.person) for one in person.on("web")}
        )

    async def erase(self, person: Person) -> int:
        """Remove it."""
        names = await self._names(person)
        mails = await self._mail_counts(person)
        waiting = await self._waiting(person)
        for name in [*mails, *names]:
            await self._store.delete(name)
        for turn in waiting:
            await self._store.discard("due", turn)
        return len(names) + len(mails) + len(waiting)

    async def holds(self, person: Person) -> int:
        """Count what is left."""
        return len(await self._names(person)) + len(await self._waiting(person))

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give it to the person, files that they sent included; nothing where nobody is named."""
        if person is None:
            return
        async for row in told(self._store, [*await self._mail_counts(person), *await self._names(person)]):
            yield row

    async def _names(self, person: Person) -> list[str]:
        exact = {f"{kind}:{one}" for kind in _OF_CONVERSATION for one in person.conversations_of("web")}
        for one in person.on("web"):
            exact |= {f"files:{one.account}:{one.person}", f"day:{one.account}:{one.person}"}
        names = {name for name in exact if await self._store.get(name) is not None}
        for one in person.on("web"):
            names |= set(await self._store.names(f"asked:web:{one.person}:"))
        for name in await self._store.names("file:"):
            if (file := _file(await self._store.get(name))) and _owns(person, file):
                names.add(name)
        for kind in _OF_TURN:
            names |= {
                name
                for name in await self._store.names(f"{kind}:")
                if name.removeprefix(f"{kind}:") in person.turns
            }
        return sorted(names | {f"due:{turn}" for turn, _ in await self._due(person)})

    async def _due(self, person: Person) -> list[tuple[str, Due]]:
        """Find the answers that wait for the visitor to take them."""
        found = []
        for name in await self._store.names("due:"):
            due = _read_due(await self._store.get(name))
            if due and person.owns(due.message.conversation, due.message.address):
                found.append((name.removeprefix("due:"), due))
        return found

    async def _waiting(self, person: Person) -> list[str]:
        mine = {turn for turn, _ in await self._due(person)} | person.turns
        return [turn for turn in await self._store.members("due") if turn in mine]

    async def _mail_counts(self, person: Person) -> list[str]:
        """Name the counters of the addresses that were left, while it is known which."""
        left = [read_left(await self._store.get(f"leave:{one}")) for one in person.conversations_of("web")]
        known = [*left, *(due.left for _, due in await self._due(person))]
        names = {mails_key(one.email) for one in known if one is not None and one.email}
        return [name for name in sorted(names) if await self._store.get(name) is not None]


def external_keys(person: Person) -> Iterator[str]:
    """Give what the keys of a visitor's messages begin with, which name them."""
    for one in person.on("web"):
        yield f"web:{one.person}:"


def _owns(person: Person, file: KeptFile) -> bool:
    return any((one.account, one.person) == (file.site, file.visitor) for one in person.on("web"))


def _file(record: str | None) -> KeptFile | None:
    try:
        return KeptFile.model_validate_json(record) if record else None
    except ValidationError:
        return None


def _read_due(record: str | None) -> Due | None:
    try:
        return Due.model_validate_json(record) if record else None
    except ValidationError:
        return None
