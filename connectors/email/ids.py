"""Message-IDs of the hub's own mail: the same for every attempt, and known again when they come back."""

import hashlib
import re
from collections.abc import Iterable

FORM = r"<hub\.[0-9a-f]{32}@([^<>@\s]{1,253})>"
_OWN_ID = re.compile(FORM)


def message_id(reply_id: str, address: str) -> str:
    """Return the Message-ID of a reply: the same for every attempt, so that an earlier one can be found."""
    name = hashlib.blake2b(f"{reply_id}\x1f{address.lower()}".encode(), digest_size=16).hexdigest()
    return f"<hub.{name}@{address.rpartition('@')[2].lower()}>"


def is_hub_message_id(value: str) -> bool:
    """Tell whether a hub wrote the mail with this Message-ID, ours or somebody else's: a machine either way."""
    return _OWN_ID.fullmatch(value) is not None


def own_message_ids(texts: Iterable[str], own: Iterable[str]) -> list[str]:
    """Return the ids in these texts that accounts of ours gave to their mail, each once.

    Args:
        own: the addresses of our accounts.
    """
    domains = {address.rpartition("@")[2].lower() for address in own}
    found = (match for text in texts for match in _OWN_ID.finditer(text))
    return list(dict.fromkeys(match[0] for match in found if match[1].lower() in domains))


def is_own_message_id(value: str, own: Iterable[str]) -> bool:
    """Tell whether one of our accounts wrote the mail with this Message-ID."""
    return own_message_ids([value], own) == [value]
