"""Who is to be erased or exported: everything by which the stores know that something is theirs."""

from hub.errors import HubError
from hub.messages import Address, Message
from hub.people import principal_name


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

    Raises: NobodyNamed: it has another form.
    """
    parts = text.strip().split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise NobodyNamed(
            f"expected CONNECTOR/ACCOUNT/PERSON, such as telegram/123456789/42, found {text.strip()[:100]!r}; "
            "docs/privacy.md tells what stands there on each channel"
        )
    connector, account, person = parts
    return Principal(connector=connector, account=account, person=person)
