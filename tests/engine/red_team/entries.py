"""The ways into the hub: an attack becomes a message by the very code that reads updates, frames, mails and files."""

import json
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from types import SimpleNamespace
from typing import cast

from connectors.base import Accepted
from connectors.email.intake import Intake as MailIntake
from connectors.email.notices import Notices
from connectors.email.outbox import Outbox
from connectors.email.parser import MailParser
from connectors.telegram import strict_json
from connectors.telegram.events import Incoming, Me
from connectors.telegram.strict_json import Unreadable
from connectors.telegram.updates import read as read_update
from connectors.web.asking import Asking
from connectors.web.frames import Ask, FrameError
from connectors.web.frames import parse as parse_frame
from connectors.web.kept_files import KeptFiles
from connectors.web.services import Services
from connectors.web.sites import Site
from connectors.web.visitors import Visitor
from hub.documents.reader import AttachmentReader
from hub.email_settings import EmailSettings, MailAccountSettings
from hub.messages import InboundMessage, OutboundMessage, utc_now
from hub.web_settings import WebSettings
from hubbub.testing import MemoryStore

BOT = Me(bot_id=123456, username="hub_bot")
ACCOUNT = MailAccountSettings(
    address="hub@example.org",
    imap_host="mx.example.org",
    smtp_host="mx.example.org",
    authserv_id="mx.example.org",
)


class Refused(Exception):
    """The channel lets it not even in, and says why."""


def by_telegram(text: str, *, update: int, person: int) -> InboundMessage:
    """Read the update that Telegram sends of a private message.

    Raises: Refused: nobody can send such a message, or it says nothing.
    """
    chat = {"id": person, "type": "private", "first_name": "Eve"}
    sender = {"id": person, "is_bot": False, "first_name": "Eve", "language_code": "en"}
    message = {
        "message_id": 1,
        "date": int(utc_now().timestamp()),
        "chat": chat,
        "from": sender,
        "text": text,
    }
    body = json.dumps({"update_id": update, "message": message}).encode()
    try:
        event = read_update(strict_json.parse(body), BOT, stream=True)
    except Unreadable as error:
        raise Refused(str(error)) from error
    if not isinstance(event, Incoming):
        raise Refused(type(event).__name__)
    return event.message


async def by_widget(text: str, *, visitor: int, site: str) -> InboundMessage:
    """Read the frame that a page sends of what its visitor writes.

    Raises: Refused: the page is told so.
    """
    published: list[InboundMessage] = []

    async def publish(message: InboundMessage) -> Accepted:
        published.append(message)
        return Accepted("1-0")

    store = MemoryStore()
    services = cast("Services", SimpleNamespace(store=store, files=KeptFiles(store), publish=lambda: publish))
    asking = Asking(services, Site(name=site), Visitor(f"{visitor:032x}", site), "en")
    frame = json.dumps({"t": "message", "id": "m1", "text": text})
    try:
        ask = parse_frame(frame, max_text_chars=WebSettings().max_text_chars)
        assert isinstance(ask, Ask)
        await asking.publish(ask)
    except FrameError as error:
        raise Refused(error.code) from error
    if not published[0].text:
        raise Refused("empty")
    return published[0]


class MailEntry:
    """A mailbox: mails are parsed in a limited process, and so are the files that are attached to them."""

    def __init__(self) -> None:
        self._parser = MailParser()
        self._reader = AttachmentReader(processes=1)
        self.put_aside: list[str] = []
        """Why mails were laid by for a person to look at."""
        store = MemoryStore()

        async def quarantine(source: str, why: str, raw: bytes) -> None:
            self.put_aside.append(why)

        async def send(message: OutboundMessage, progress: object) -> None:
            raise AssertionError(message)

        settings = EmailSettings(accounts=(ACCOUNT,))
        outbox = Outbox(store, send, give_up_s=60, quarantine=quarantine)
        notices = Notices(ACCOUNT, store, outbox)
        self._intake = MailIntake(ACCOUNT, settings, store, self._parser, quarantine, notices, self._reader)

    async def close(self) -> None:
        """Stop the processes."""
        await self._parser.close()
        await self._reader.close()

    async def message(
        self, question: str, number: int, *, quoted: str = "", file: str = "", is_html: bool = False
    ) -> InboundMessage:
        """Take a mail in.

        Args:
            quoted: the text that it answers, below its own.
            file: the text of a file that is attached to it.

        Raises: Refused: it is not answered.
        """
        mail = EmailMessage(policy=SMTP)
        mail["Authentication-Results"] = "mx.example.org; dmarc=pass header.from=example.net"
        mail["From"] = f"Eve <eve{number}@example.net>"
        mail["To"] = ACCOUNT.address
        mail["Subject"] = "The café"
        mail["Date"] = format_datetime(utc_now())
        mail["Message-ID"] = f"<{number}@example.net>"
        if is_html:
            body = f'<p>{question}</p><blockquote type="cite">{quoted}</blockquote>'
            mail.set_content(body, subtype="html", cte="base64")
        else:
            below = "".join(f"\n> {line}" for line in quoted.split("\n"))
            head = "\n\nOn Mon, 2 Nov 2026 at 10:00, Bob <bob@example.net> wrote:\n" if quoted else ""
            mail.set_content(f"{question}{head}{below if quoted else ''}", cte="base64")
        if file:
            mail.add_attachment(file.encode(), maintype="text", subtype="markdown", filename="notes.md")
        decision = await self._intake.decide(mail.as_bytes(), source="test", arrived_at=utc_now())
        if decision.message is None:
            raise Refused(decision.outcome)
        return decision.message
