"""A reply as a mail: threaded under the question, marked as written by a machine.

What mail programs need to show a reply below its question, and what is done for each:

- Thunderbird, Apple Mail and most others thread by References and In-Reply-To alone (RFC 5322 section 3.6.4): both are
  there, References with the first id of the thread and the newest ones, at most 20.
- Gmail threads by References and wants the same subject besides, prefixes such as `Re:` apart: the subject is kept,
  with exactly one `Re:` in front, whatever prefixes of whatever languages stood there.
- Outlook and Exchange thread by References, too; Thread-Index and Thread-Topic are their own and optional, and a wrong
  Thread-Index tears a thread apart, so that none is written.
- All of them show `Re:` in their own language, which is why it is never translated here.

Other machines are told by Auto-Submitted (RFC 3834 section 5) and X-Auto-Response-Suppress (Exchange).
"""

import email.policy
import hashlib
import re
from dataclasses import dataclass
from email.headerregistry import Address as MailAddress
from email.message import EmailMessage
from email.utils import format_datetime

from connectors.email.automatic import OWN_MARK
from connectors.email.body import Body
from connectors.email.headers import capped, message_ids, one_line
from connectors.email.ids import message_id
from connectors.email.phrases import PHRASES, known
from hub.email_settings import MailAccountSettings
from hub.errors import DeliveryRefused
from hub.messages import OutboundMessage

MAX_SUBJECT_CHARS = 500

# Everything in 7 bits, so that no server on the way has a reason to change the body.
_POLICY = email.policy.SMTP.clone(cte_type="7bit")

# English, German, Scandinavian, Finnish, Dutch, Polish, Italian, Portuguese, Turkish, French, Russian, Chinese, Arabic.
_REPLY_WORDS = "re|aw|antw|antwort|sv|vs|odp|rif|res|ynt|rép|ref|отв|ответ|回复|回覆|答复|答覆|رد"
_REPLY_PREFIX = re.compile(rf"(\s*({_REPLY_WORDS})\s*(\[\d+\]|\(\d+\)|\^\d+)?\s*[:：])+\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMail:
    """A mail that is ready to be sent."""

    recipient: str
    message_id: str
    raw: bytes


def compose(message: OutboundMessage, account: MailAccountSettings) -> OutgoingMail:
    """Write the mail for a reply; the same reply always gives the same bytes.

    Raises: DeliveryRefused: there is no address it could go to.
    """
    recipient = one_line(message.reply.get("to") or message.address.chat)
    own_id = message_id(message.reply_id, account.address)
    body = Body(message, account.name)
    mail = EmailMessage(policy=_POLICY)
    try:
        mail["From"] = MailAddress(one_line(account.name), addr_spec=account.address)
        mail["To"] = MailAddress(addr_spec=recipient)
        mail["Subject"] = reply_subject(message.reply.get("subject", ""), body.language)
    except (ValueError, IndexError, TypeError) as error:
        raise DeliveryRefused(f"no mail can be addressed: {type(error).__name__}") from error
    mail["Date"] = format_datetime(message.created_at)
    mail["Auto-Submitted"] = "auto-replied"
    mail["X-Auto-Response-Suppress"] = "All"
    mail[OWN_MARK] = "hubbub"
    mail.set_content(body.plain())
    mail.add_alternative(body.rich(), subtype="html")
    # What is said of the content before there is any goes to the first part alone.
    mail["Content-Language"] = body.language
    mail.set_boundary(f"=_{hashlib.sha256(own_id.encode()).hexdigest()[:40]}")
    return OutgoingMail(
        recipient=recipient, message_id=own_id, raw=_threading(message, own_id) + mail.as_bytes()
    )


def reply_subject(subject: str, language: str = "en") -> str:
    """Return the subject with exactly one `Re:`."""
    line = one_line(subject)
    prefix = _REPLY_PREFIX.match(line)
    bare = line[prefix.end() :] if prefix else line
    return f"Re: {bare or PHRASES[known(language)].your_message}"[:MAX_SUBJECT_CHARS]


def references(earlier: str, answered: str) -> list[str]:
    """Return the References of an answer: the first and the newest ones, at most 20."""
    return capped(message_ids([earlier]) + message_ids([answered]))


def _threading(message: OutboundMessage, own_id: str) -> bytes:
    # Written by hand: the email package encodes ids longer than a line as if they were words.
    lines = [f"Message-ID: {own_id}"]
    if answered := message_ids([message.reply.get("message_id", "")]):
        lines.append(f"In-Reply-To: {answered[0]}")
    if ids := references(message.reply.get("references", ""), message.reply.get("message_id", "")):
        lines.append("References: " + "\r\n ".join(ids))
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")
