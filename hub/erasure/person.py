"""Who is to be erased or exported: everything by which the stores know that something is theirs."""

import re

from hub.errors import HubError
from hub.messages import Address, Message
from hub.people import principal_name

_IDENTITY = re.compile(
    r"(?P<connector>[^/]+)/(?P<account>https?://[^/]+|(?!https?:/)[^/]+)/(?P<person>.+)", re.DOTALL
)


_WITHIN_NAMES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class NobodyNamed(HubError):
    """What was given does not name anybody."""


class Principal(Message):
    """Somebody as one channel knows them: three fields of the address of what they write."""

    connector: str
    account: str
    person: str

    @property
    def mark(self) -> str:
        """Return the name under which the hub keeps things of them."""
        return principal_name(self.connector, self.account, self.person)

    @classmethod
    def of(cls, address: Address) -> "Principal":
        """Return who wrote."""
        return cls(connector=address.connector, account=address.account, person=address.person)


class Person(Message):
    """One person with everything that is linked to them, as far as it was found."""

    principals: frozenset[Principal] = frozenset()
    marks: frozenset[str] = frozenset()
    """Of the principals, and of linked ones of whom no more than the mark is known."""
    conversations: frozenset[str] = frozenset()
    """Theirs alone: all of it is."""
    groups: frozenset[str] = frozenset()
    """Shared with others: what they wrote there and the answers to it are theirs."""
    turns: frozenset[str] = frozenset()
    lines: frozenset[str] = frozenset()
    """What summaries of their groups may hold of what they wrote."""

    @classmethod
    def named(cls, *principals: Principal) -> "Person":
        """Begin with who was named."""
        return cls(principals=frozenset(principals), marks=frozenset(one.mark for one in principals))

    def with_more(
        self,
        *,
        principals: "frozenset[Principal] | set[Principal]" = frozenset(),
        marks: frozenset[str] | set[str] = frozenset(),
        conversations: frozenset[str] | set[str] = frozenset(),
        groups: frozenset[str] | set[str] = frozenset(),
        turns: frozenset[str] | set[str] = frozenset(),
        lines: frozenset[str] | set[str] = frozenset(),
    ) -> "Person":
        """Return the same person with more of what is theirs."""
        known = self.principals | principals
        return Person(
            principals=known,
            marks=self.marks | marks | {one.mark for one in principals},
            conversations=self.conversations | conversations,
            groups=self.groups | groups,
            turns=self.turns | turns,
            lines=self.lines | lines,
        )

    def owns(self, conversation: str, address: Address | None) -> bool:
        """Tell whether a message is theirs."""
        if conversation in self.conversations:
            return True
        return address is not None and Principal.of(address).mark in self.marks

    def on(self, connector: str) -> list[Principal]:
        """Return who they are on one channel, in a fixed order."""
        mine = [one for one in self.principals if one.connector == connector]
        return sorted(mine, key=lambda one: (one.account, one.person))

    def conversations_of(self, connector: str) -> list[str]:
        """Return their own conversations on one channel, sorted."""
        return sorted(name for name in self.conversations if name.startswith(f"{connector}-"))


def parse_identity(text: str) -> Principal:
    """Read `connector/account/person`, such as `telegram/123456789/42` or `email/help@example.org/ana@example.org`.

    An account may be the origin of a page: `web/https://shop.example/ana`.

    Raises: NobodyNamed: it has another form.
    """
    match = _IDENTITY.fullmatch(text.strip())
    if match is None:
        raise NobodyNamed(
            f"expected CONNECTOR/ACCOUNT/PERSON, such as telegram/123456789/42, found {text.strip()[:100]!r}; "
            "docs/privacy.md tells what stands there on each channel"
        )
    return Principal(**match.groupdict())


def mentions(person: Person, value: bytes) -> bool:
    """Tell whether something nobody can read names their conversations, or them where that cannot be taken for anything else."""
    names = [*person.conversations, *(one.person for one in person.principals if len(one.person) >= 8)]
    return any(_is_named(name.encode("utf-8", "replace"), value) for name in names)


def _is_named(name: bytes, value: bytes) -> bool:
    """Tell whether a name stands there by itself: another's number may begin or end with the same digits."""
    at = value.find(name)
    while at >= 0:
        around = value[max(0, at - 1) : at] + value[at + len(name) :][:1]
        if not any(byte in _WITHIN_NAMES for byte in around):
            return True
        at = value.find(name, at + 1)
    return False
