"""Answers by mail to people who asked on a page and left an address."""

from email.utils import format_datetime

from connectors.email.outbox import Waiting, put
from connectors.store import Store
from hub.email_settings import MailAccountSettings
from hub.messages import Address, OutboundMessage
from hub.text import canonical_address

MAX_SUBJECT_CHARS = 80


class VisitorMail:
    """Writes to them from one account; what they reply is a mail like any other, and STOP stops it."""

    def __init__(self, account: MailAccountSettings, store: Store) -> None:
        self._account = account
        self._store = store

    async def mail(self, message: OutboundMessage, address: str) -> None:
        """Hand an answer over to be mailed; returns once it cannot be lost any more. The same one twice is one mail.

        Raises: BusError: it was not handed over; repeating is safe.
        """
        subject = next(iter(message.question.split("\n")), "").strip()
        letter = message.model_copy(
            update={
                "reply_id": f"{message.reply_id}:mail",
                "replaces": "",
                "address": Address(
                    connector="email",
                    account=self._account.address.lower(),
                    chat=address,
                    # A thread of its own begins with it.
                    thread=f"web:{message.turn}",
                    person=message.address.person,
                ),
                "reply": {
                    "to": address,
                    "participant": canonical_address(address),
                    "language": message.reply.get("language", ""),
                    "subject": subject[:MAX_SUBJECT_CHARS],
                    "date": format_datetime(message.created_at),
                },
            }
        )
        # Due when the answer was made, so that the same answer is the same member of the outbox's set.
        await put(self._store, Waiting(message=letter, due_at=message.created_at))
