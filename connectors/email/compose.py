"""A reply as a mail: text and HTML, threaded under the question, marked as written by a machine."""

import email.policy
import hashlib
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.headerregistry import Address as MailAddress
from email.message import EmailMessage
from email.utils import format_datetime

import nh3
from markdown_it import MarkdownIt

from connectors.email.automatic import OWN_MARK
from connectors.email.headers import MAX_REFERENCES, message_ids
from hub.errors import DeliveryRefused
from hub.messages import OutboundMessage, Source
from hub.settings import MailAccountSettings

MAX_HEADER_CHARS = 500
MAX_QUOTED_CHARS = 4_000

# Everything in 7 bits, so that no server on the way has a reason to change the body.
_POLICY = email.policy.SMTP.clone(cte_type="7bit")

_OWN_ID = re.compile(r"<hub\.[0-9a-f]{32}@([^<>@\s]+)>")
_IMAGE = re.compile(r"!\[([^\]]{0,500})\]\([^)]{0,2000}\)|!\[([^\]]{0,500})\](\[[^\]]{0,200}\])?")
_GREETABLE = re.compile(r"[^\W\d_][\w .'’-]{0,39}")
_REPLY_PREFIX = re.compile(r"(\s*(re|aw|sv|antw|rép|ref)(\[\d+\])?\s*:)+\s*", re.IGNORECASE)

_TAGS = {"p", "br", "strong", "em", "code", "pre", "ul", "ol", "li", "blockquote", "a", "hr", "s"}
_TAGS |= {"table", "thead", "tbody", "tr", "th", "td", *(f"h{level}" for level in range(1, 7))}

_PAGE = "font: 15px/1.5 system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; max-width: 44em"
_ASIDE = "color: #666; font-size: 13px"
_QUOTE = "margin: 0; padding-left: 12px; border-left: 3px solid #ddd; color: #666"


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
    recipient = clean(message.reply.get("to") or message.address.chat)
    own_id = message_id(message.reply_id, account.address)
    mail = EmailMessage(policy=_POLICY)
    try:
        mail["From"] = MailAddress(clean(account.name), addr_spec=account.address)
        mail["To"] = MailAddress(addr_spec=recipient)
        mail["Subject"] = reply_subject(message.reply.get("subject", ""))
    except (ValueError, IndexError, TypeError) as error:
        raise DeliveryRefused(f"no mail can be addressed: {type(error).__name__}") from error
    mail["Date"] = format_datetime(message.created_at)
    mail["Auto-Submitted"] = "auto-replied"
    mail["X-Auto-Response-Suppress"] = "All"
    mail[OWN_MARK] = "hubbub"
    mail.set_content(_text(message, account))
    mail.add_alternative(_html(message, account), subtype="html")
    mail.set_boundary(f"=_{hashlib.sha256(own_id.encode()).hexdigest()[:40]}")
    return OutgoingMail(
        recipient=recipient, message_id=own_id, raw=_threading(message, own_id) + mail.as_bytes()
    )


def message_id(reply_id: str, address: str) -> str:
    """Return the Message-ID of a reply: the same for every attempt, so that an earlier one can be found."""
    name = hashlib.blake2b(f"{reply_id}\x1f{address.lower()}".encode(), digest_size=16).hexdigest()
    return f"<hub.{name}@{address.rpartition('@')[2].lower()}>"


def is_own_message_id(value: str, own: Iterable[str]) -> bool:
    """Tell whether one of our accounts wrote the mail with this Message-ID."""
    found = _OWN_ID.fullmatch(value)
    return found is not None and found[1] in {address.rpartition("@")[2].lower() for address in own}


def clean(value: str) -> str:
    """Return a header value that stays one header: no line breaks, no controls, at most 500 characters."""
    printable = "".join(c if c.isprintable() else " " for c in value)
    return " ".join(printable.split())[:MAX_HEADER_CHARS]


def reply_subject(subject: str) -> str:
    """Return the subject with exactly one `Re:`."""
    bare = _REPLY_PREFIX.sub("", clean(subject), count=1) if subject else ""
    return f"Re: {bare or 'your message'}"[:MAX_HEADER_CHARS]


def references(earlier: str, answered: str) -> list[str]:
    """Return the References of an answer: the first and the newest ones, at most 20."""
    ids = list(dict.fromkeys(message_ids([earlier]) + message_ids([answered])))
    return ids if len(ids) <= MAX_REFERENCES else [ids[0], *ids[-(MAX_REFERENCES - 1) :]]


def _threading(message: OutboundMessage, own_id: str) -> bytes:
    # Written by hand: the email package encodes ids longer than a line as if they were words.
    lines = [f"Message-ID: {own_id}"]
    if answered := message_ids([message.reply.get("message_id", "")]):
        lines.append(f"In-Reply-To: {answered[0]}")
    if ids := references(message.reply.get("references", ""), message.reply.get("message_id", "")):
        lines.append("References: " + "\r\n ".join(ids))
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def _text(message: OutboundMessage, account: MailAccountSettings) -> str:
    blocks = [_greeting(message), without_images(message.text).strip()]
    if message.sources:
        blocks.append("Sources:\n" + "\n".join(_source_line(source) for source in message.sources))
    if quoted := _quoted(message):
        blocks.append(
            _attribution(message) + "\n" + "\n".join(f"> {line}".rstrip() for line in quoted.split("\n"))
        )
    blocks.append(f"-- \n{_footer(account)}")
    return "\n\n".join(blocks) + "\n"


def _html(message: OutboundMessage, account: MailAccountSettings) -> str:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    body = nh3.clean(
        markdown.render(without_images(message.text)),
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    blocks = [f"<p>{html.escape(_greeting(message))}</p>", body]
    if message.sources:
        items = "".join(f'<li value="{s.number}">{_source_html(s)}</li>' for s in message.sources)
        blocks.append(f'<p style="{_ASIDE}">Sources</p><ol style="{_ASIDE}">{items}</ol>')
    if quoted := _quoted(message):
        inner = html.escape(quoted).replace("\n", "<br>")
        blocks.append(
            f'<p style="{_ASIDE}">{html.escape(_attribution(message))}</p>'
            f'<blockquote type="cite" style="{_QUOTE}">{inner}</blockquote>'
        )
    blocks.append(f'<p style="{_ASIDE}">{html.escape(_footer(account))}</p>')
    # Mail programs ignore style sheets, so each element carries its own.
    return f'<!doctype html><html><body style="{_PAGE}">' + "\n".join(blocks) + "</body></html>\n"


def without_images(markdown: str) -> str:
    """Replace images by their description: a picture's address can carry text to a stranger's server."""
    return _IMAGE.sub(lambda found: found[1] or found[2] or "", markdown)


def _greeting(message: OutboundMessage) -> str:
    name = clean(message.reply.get("name", ""))
    return f"Hello {name}," if _GREETABLE.fullmatch(name) else "Hello,"


def _footer(account: MailAccountSettings) -> str:
    return f"{clean(account.name)} answers automatically. Reply to this mail to go on."


def _attribution(message: OutboundMessage) -> str:
    date = clean(message.reply.get("date", ""))
    return f"On {date}, you wrote:" if date else "You wrote:"


def _quoted(message: OutboundMessage) -> str:
    text = message.question.strip()
    return text if len(text) <= MAX_QUOTED_CHARS else text[:MAX_QUOTED_CHARS].rstrip() + "\n[...]"


def _source_line(source: Source) -> str:
    heading = f", {clean(source.heading)}" if source.heading else ""
    return f'[{source.number}] {clean(source.title)}{heading} ({clean(source.location)})\n    "{clean(source.quote)}"'


def _source_html(source: Source) -> str:
    heading = f", {html.escape(clean(source.heading))}" if source.heading else ""
    title, location = html.escape(clean(source.title)), html.escape(clean(source.location))
    return f"{title}{heading} ({location})<br><em>{html.escape(clean(source.quote))}</em>"
