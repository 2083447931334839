"""The few mails the connector itself writes: an order is carried out, mails got no answer, a mail is unreadable."""

from datetime import timedelta
from email.utils import format_datetime
from typing import Literal

from connectors.email.languages import language_of_mail
from connectors.email.mail import ParsedMail
from connectors.email.outbox import Outbox, Waiting, count_key
from connectors.email.phrases import PHRASES, known
from connectors.email.state import digest
from connectors.email.threads import Thread
from connectors.store import Store
from hub.email_settings import MailAccountSettings
from hub.messages import Address, OutboundMessage, utc_now

DIGEST_AFTER_S = 60.0
"""Late enough to name all mails of a burst."""
MAX_DIGEST_LINES = 20
MAX_LINE_CHARS = 80
ONCE_S = 86_400.0
MAX_CONFIRMATIONS = 3
"""To one sender in a day: two machines that order each other to STOP and START end there."""

# What a sender writes comes back as words, never as a link.
_MARKUP = str.maketrans("", "", "[]()<>{}`*_~#|!\\")

Kind = Literal["stopped", "started", "digest", "encrypted"]


class Notices:
    """Writes to the people who write to one account."""

    def __init__(self, account: MailAccountSettings, store: Store, outbox: Outbox) -> None:
        self._account = account
        self._store = store
        self._outbox = outbox

    async def confirm(self, kind: Literal["stopped", "started"], mail: ParsedMail, thread: Thread) -> None:
        """Tell somebody that an order was carried out."""
        count = await self._store.increment(f"email:confirmed:{self._who(thread)}", ONCE_S)
        if count <= MAX_CONFIRMATIONS:
            await self._outbox.put(Waiting(message=self._message(kind, mail, thread)))

    async def not_answered(self, mail: ParsedMail, thread: Thread) -> None:
        """Tell somebody, once a day and in one mail, which of their mails got no answer."""
        if not self._may_write_to(mail):
            return
        who = self._who(thread)
        lines, gathering = f"email:unanswered:{who}", f"email:gathering:{who}"
        if await self._store.increment(f"email:digest:{who}", ONCE_S) == 1:
            due_at = utc_now() + timedelta(seconds=DIGEST_AFTER_S)
            # What a process that died has left of an earlier day.
            await self._store.delete(lines)
            await self._store.delete(count_key(lines))
            await self._store.set(gathering, "1", DIGEST_AFTER_S)
            await self._gather(lines, mail)
            message = self._message("digest", mail, thread)
            await self._outbox.put(Waiting(message=message, due_at=due_at, lines_from=lines))
        elif await self._store.get(gathering):
            await self._gather(lines, mail)

    async def _gather(self, lines: str, mail: ParsedMail) -> None:
        if await self._store.increment(count_key(lines), ONCE_S) <= MAX_DIGEST_LINES:
            await self._store.add(lines, _line(mail))

    async def unreadable(self, mail: ParsedMail, thread: Thread) -> None:
        """Tell somebody, once a day, that encrypted mail cannot be read."""
        if not self._may_write_to(mail):
            return
        if await self._store.increment(f"email:encrypted:{self._who(thread)}", ONCE_S) == 1:
            await self._outbox.put(Waiting(message=self._message("encrypted", mail, thread)))

    def _may_write_to(self, mail: ParsedMail) -> bool:
        """Tell whether a notice that was not asked for may go to the sender.

        Where this account's mail server checks senders, one that it does not vouch for may be somebody else.
        """
        return mail.dmarc == "pass" or not self._account.authserv_id

    def _message(self, kind: Kind, mail: ParsedMail, thread: Thread) -> OutboundMessage:
        language = language_of_mail(mail)
        # The same mail, looked at again after a crash, gives the same notice.
        turn = digest(kind, thread.account, mail.message_id or mail.content_digest)
        return OutboundMessage(
            reply_id=f"{turn}:0",
            turn=turn,
            conversation=thread.conversation,
            address=Address(
                connector="email",
                account=thread.account,
                chat=mail.sender,
                thread=thread.root,
                person=thread.conversation,
            ),
            kind="notice",
            text=getattr(PHRASES[known(language)], kind),
            question=mail.text if kind in {"stopped", "started"} else "",
            reply={
                "to": mail.sender,
                "name": mail.sender_name,
                "language": language,
                "participant": thread.participant,
                "notice": kind,
                "subject": mail.subject,
                "message_id": mail.message_id,
                "references": " ".join(mail.references or mail.in_reply_to[:1]),
                "date": format_datetime(mail.date) if mail.date else "",
            },
        )

    def _who(self, thread: Thread) -> str:
        return digest(thread.account, thread.participant)


def _line(mail: ParsedMail) -> str:
    said = (mail.subject or mail.text).translate(_MARKUP)
    return f"{' '.join(said.split())[:MAX_LINE_CHARS]}, {mail.date or utc_now():%Y-%m-%d %H:%M}"
