"""What the mail connector keeps of somebody who wrote: threads, mails that wait, limits, reports, their wish for silence.

Digests of whole mails and Message-IDs stay until their time is over: they name nobody, and by them a mail that is
delivered again is not answered again.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic import ValidationError

from connectors.email.bounces import DeliveryReport
from connectors.email.outbox import WAITING, Waiting, count_key
from connectors.email.state import digest
from connectors.email.threads import Member, Thread
from connectors.store import ListedStore
from connectors.told import plain, told
from hub.erasure.person import Person, Principal
from hub.text import canonical_address

_MAILTO = "mailto:"
_LINES = "email:unanswered:"
"""Sets of lines about mails that nobody answers."""


class MailTraces:
    """The connector's state of a person.

    Args:
        accounts: addresses of the mailboxes.
    """

    name = "email"

    def __init__(self, store: ListedStore, accounts: Sequence[str]) -> None:
        self._store = store
        self._accounts = [account.lower() for account in accounts]

    async def everybody(self) -> AsyncIterator[Principal]:
        """Give everybody to whom a thread or a mail that waits belongs, by their addresses."""
        members = [_member(await self._store.get(name)) for name in await self._store.names("email:thread:")]
        addresses = {member.participant for member in members if member is not None}
        for record in await self._store.members(WAITING):
            with contextlib.suppress(ValidationError):
                addresses.add(canonical_address(Waiting.model_validate_json(record).message.address.chat))
        for account in self._accounts:
            for address in sorted(addresses):
                yield Principal(connector="email", account=account, person=address)

    async def widen(self, person: Person) -> Person:
        """Add the threads of their addresses; a thread is a principal of its own while nobody vouches for its sender."""
        addresses = _addresses(person)
        conversations = {
            Thread(account=account, root=member.root, participant=member.participant).conversation
            for _, member in await self._members(addresses)
            for account in self._known(person)
        }
        mine = conversations.union(person.conversations_of("email"))
        principals = {
            Principal(connector="email", account=account, person=name)
            for account in self._known(person)
            for name in mine
        }
        verified = {
            Principal(connector="email", account=account, person=f"{_MAILTO}{address}")
            for account in self._known(person)
            for address in addresses
        }
        return person.with_more(principals=principals | verified, conversations=conversations)

    async def erase(self, person: Person) -> int:
        """Remove it; reports before the threads by which they are known."""
        names = [*await self._reports(person), *await self._names(person)]
        for name in names:
            await self._store.delete(name)
        waiting = await self._waiting(person)
        for member, mail in waiting:
            await self._store.discard(WAITING, member)
            await self._store.delete(f"email:notice:{digest(mail.message.reply_id)}")
        return len(names) + len(waiting)

    async def holds(self, person: Person) -> int:
        """Count what is left."""
        known = len(await self._reports(person)) + len(await self._names(person))
        return known + len(await self._waiting(person))

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give it to the person; nothing where nobody is named, as it is of no use to another hub."""
        if person is None:
            return
        names = {*await self._reports(person), *await self._names(person)}
        # Their counters begin with the same word, and are values.
        lines = {name for name in names if name.startswith(_LINES) and count_key("") not in name}
        async for row in told(self._store, sorted(names - lines), sorted(lines)):
            yield row
        for member, _ in await self._waiting(person):
            yield {"name": WAITING, "value": plain(member)}

    def _known(self, person: Person) -> list[str]:
        return sorted({*self._accounts, *(one.account for one in person.on("email"))})

    async def _members(self, addresses: set[str]) -> list[tuple[str, Member]]:
        found = []
        for name in await self._store.names("email:thread:"):
            member = _member(await self._store.get(name))
            if member is not None and member.participant in addresses:
                found.append((name, member))
        return found

    async def _names(self, person: Person) -> list[str]:
        addresses = _addresses(person)
        names = {name for name, _ in await self._members(addresses)}
        whose = {digest(account, address) for account in self._known(person) for address in addresses}
        lines = {f"{_LINES}{who}" for who in whose}
        exact = {
            f"email:{kind}:{who}"
            for kind in ("confirmed", "digest", "gathering", "encrypted", "stopped")
            for who in whose
        } | {count_key(name) for name in lines}
        names |= {name for name in exact if await self._store.get(name) is not None}
        names |= {name for name in lines if await self._store.members(name)}
        theirs = whose | set(person.conversations_of("email"))
        names |= {
            name for name in await self._store.names("email:limit:") if theirs & set(name.split(":")[3:4])
        }
        return sorted(names)

    async def _reports(self, person: Person) -> list[str]:
        """Find reports about mail that went to them."""
        threads = {name for name, _ in await self._members(_addresses(person))}
        found = []
        for name in await self._store.names("email:bounce:"):
            report = _report(await self._store.get(name))
            keys = {
                f"email:thread:{digest(account, report.message_id)}"
                for account in self._known(person)
                if report is not None
            }
            if keys & threads:
                found.append(name)
        return found

    async def _waiting(self, person: Person) -> list[tuple[str, Waiting]]:
        addresses = _addresses(person)
        found = []
        for member in await self._store.members(WAITING):
            try:
                mail = Waiting.model_validate_json(member)
            except ValidationError:
                continue
            message = mail.message
            goes_to = {canonical_address(message.address.chat), message.reply.get("participant", "")}
            if goes_to & addresses or person.owns(message.conversation, message.address):
                found.append((member, mail))
        return found


def _addresses(person: Person) -> set[str]:
    """Return the mail addresses among what the person is known as."""
    said = (one.person.removeprefix(_MAILTO) for one in person.on("email"))
    return {canonical_address(one) for one in said if "@" in one}


def _member(record: str | None) -> Member | None:
    try:
        return Member.model_validate_json(record) if record else None
    except ValidationError:
        return None


def _report(record: str | None) -> DeliveryReport | None:
    try:
        return DeliveryReport.model_validate_json(record) if record else None
    except ValidationError:
        return None
