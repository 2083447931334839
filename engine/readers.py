"""As whom a message looks at the documents: what is certain of whoever wrote it."""

from typing import Protocol

from hub.messages import Address, InboundMessage
from hub.people import identity_of
from knowledge.audience import Reader


class Identities(Protocol):
    """Knows who is who."""

    async def identities(self, address: Address) -> frozenset[str]:
        """Return all identities of the person who writes; none where nobody vouches for them or others read along.

        Raises: BusError: they cannot be looked up.
        """


class Readers:
    """Says who reads the answer to a message.

    Args:
        people: tells which identities somebody has linked; None where nobody can link any.
    """

    def __init__(self, people: Identities | None = None) -> None:
        self._people = people

    async def of(self, message: InboundMessage) -> Reader:
        """Say as whom a message looks at the documents.

        A site is the one whose page was used; a person is somebody a channel vouches for, where nobody reads along,
        with all channels that they have linked. An operator never writes messages: what is for operators alone is
        looked at in the terminal.

        Raises: BusError: Redis is away.
        """
        address = message.address
        own = "" if address.is_group else identity_of(address)
        linked = await self._people.identities(address) if own and self._people else frozenset[str]()
        return Reader(
            site=address.account if address.connector == "web" else "",
            people=linked | ({own} if own else set()),
        )
