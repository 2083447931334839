"""People who want no answers: they write STOP, and are left alone until they write START."""

import re
from typing import Literal

from connectors.email.mail import ParsedMail
from connectors.email.phrases import START, STOP
from connectors.email.state import digest
from connectors.store import Store
from hub.messages import utc_now
from hub.text import canonical_address

MAX_ORDER_CHARS = 200
"""Of a mail whose first line is an order; what is longer says something else."""

Order = Literal["", "stop", "start"]

_ORDERS: dict[str, Order] = {STOP: "stop", "UNSUBSCRIBE": "stop", START: "start"}
_NO_LETTERS = re.compile(r"[\W_]+")


class NoAnswers:
    """The list of one account."""

    def __init__(self, store: Store, account: str) -> None:
        self._store = store
        self._account = account

    async def holds(self, address: str) -> bool:
        """Tell whether somebody wants no answers."""
        return await self._store.get(self._key(address)) is not None

    async def add(self, address: str) -> None:
        """Answer somebody no more."""
        await self._store.set(self._key(address), utc_now().isoformat())

    async def remove(self, address: str) -> None:
        """Answer somebody again."""
        await self._store.delete(self._key(address))

    def _key(self, address: str) -> str:
        return f"email:stopped:{digest(self._account, canonical_address(address))}"


def order_of(mail: ParsedMail) -> Order:
    """Return what a mail orders by its first line, or by its subject where it has no text."""
    text = mail.text.strip()
    if len(text) > MAX_ORDER_CHARS or "?" in text:
        return ""
    words = text.split("\n", 1)[0] if text else mail.subject.rpartition(":")[2]
    return _ORDERS.get(_NO_LETTERS.sub("", words).upper(), "")
