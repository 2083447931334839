"""How an operator writes an audience in the terminal."""

from hub.messages import Address
from hub.people import identity_of
from knowledge.audience import parse_audience


def read_audience(text: str) -> str:
    """Read an audience; a person may be named as their channel knows them.

    Args:
        text: as `hub.cli.options.AUDIENCES` says; `person:telegram/123456/4711` is the user 4711 who writes to the bot 123456, and
            `person:email/help@example.org/jo@example.com` is whoever writes from that address to that mailbox.

    Returns: as `knowledge.audience.parse_audience` does.
    Raises: KnowledgeError: it is no audience.
    """
    kind, _, name = text.partition(":")
    parts = name.split("/")
    if kind == "person" and len(parts) == 3 and all(parts):
        connector, account, person = parts
        address = Address(connector=connector, account=account, chat=person, person=person, is_verified=True)
        return parse_audience(f"person:{identity_of(address)}")
    return parse_audience(text)
