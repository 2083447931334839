"""As whom a message looks at the documents: what is certain of whoever wrote it."""

from hub.messages import InboundMessage
from hub.people import identity_of
from knowledge.audience import Reader


def reader_of(message: InboundMessage) -> Reader:
    """Say who reads the answer to a message.

    A site is the one whose page was used; a person is somebody a channel vouches for, where nobody reads along. An
    operator never writes messages: what is for operators alone is looked at in the terminal.
    """
    address = message.address
    person = "" if address.is_group else identity_of(address)
    return Reader(
        site=address.account if address.connector == "web" else "",
        people=frozenset({person} if person else ()),
    )
