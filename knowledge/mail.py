"""Reads a mail as a document: its subject is the title, what was written in it is the text.

Runs in a limited process alone: a crafted mail may cost the standard library's parser any amount of time or memory.
"""

import contextlib
import email.errors
import email.header
import email.message
import email.parser
import email.policy
import email.utils
import re
from collections.abc import Iterator

from hub.documents.html import read_html
from hub.documents.markdown import Section
from hub.documents.parsing import Document, clean, version_of
from hub.errors import DocumentUnreadable

MAIL_SUFFIX = ".eml"
MAIL = "message/rfc822"
MAX_PARTS = 200
MAX_TEXT_CHARS = 1_000_000
MAX_HEADER_CHARS = 300
_ATTRIBUTION_LINES = 3
_QUOTE = re.compile(r"^\s*>")
_TEXT_CHARSETS = re.compile(
    r"(?:utf-?(?:8|16(?:[lb]e)?)|us-ascii|iso-?8859-\d+|windows-\d+|cp\d+|koi8-[ru]|gb\w+|big5\w*"
    r"|euc-?\w+|shift.?jis|iso-?2022-\w+|latin-?\d|ascii|mac-?\w+|tis-?620)",
    re.IGNORECASE,
)
"""Python knows encodings that are none of text; those are not for strangers to choose."""


def read_mail(data: bytes) -> Document:
    """Turn the bytes of a mail into a document.

    Raises: DocumentUnreadable: it holds no text, or more parts than are looked at.
    """
    message = email.parser.BytesParser(policy=email.policy.compat32).parsebytes(data)
    texts = [clean(text)[:MAX_TEXT_CHARS] for text in _texts(message)]
    body = "\n\n".join(filter(None, (without_quotes(text) or text for text in texts)))[:MAX_TEXT_CHARS]
    if not any(map(str.isalnum, body)):
        raise DocumentUnreadable("holds no text", "empty")
    return Document(
        title=_header(message, "Subject") or "Mail without a subject",
        media_type=MAIL,
        sections=(Section(heading=_origin(message), text=body),),
        version=version_of(data),
        size_bytes=len(data),
    )


def without_quotes(text: str) -> str:
    """Leave out what a mail quotes at its end: the mail that is quoted is a document itself."""
    lines = text.rstrip().split("\n")
    end = len(lines)
    while end and (not lines[end - 1].strip() or _QUOTE.match(lines[end - 1])):
        end -= 1
    if end == len(lines):
        return text
    # Who wrote it and when stands before it, in one line or a few, and ends with a colon.
    for count in range(1, _ATTRIBUTION_LINES + 1):
        above = lines[max(0, end - count) : end]
        if (
            above
            and above[-1].rstrip().endswith(":")
            and (end == count or not lines[end - count - 1].strip())
        ):
            end -= count
            break
    return "\n".join(lines[:end]).rstrip()


def _origin(message: email.message.Message) -> str:
    name, address = email.utils.parseaddr(_header(message, "From"))
    try:
        sent = email.utils.parsedate_to_datetime(_header(message, "Date")).date().isoformat()
    except (ValueError, TypeError, OverflowError):
        sent = ""
    return " ".join(part for part in (f"from {name or address}" if name or address else "", sent) if part)


def _texts(message: email.message.Message) -> Iterator[str]:
    """Give what a reader would see: of alternatives the plain one, no attachments."""
    plain, rich = list[str](), list[str]()
    for count, part in enumerate(message.walk()):
        if count > MAX_PARTS:
            raise DocumentUnreadable(f"has more than {MAX_PARTS} parts", "too_large")
        if part.is_multipart() or part.get_content_disposition() == "attachment" or part.get_filename():
            continue
        kind = part.get_content_type()
        if kind == "text/plain":
            plain.append(_text(part))
        elif kind == "text/html":
            _, sections = read_html(_text(part))
            rich.append("\n\n".join(section.text for section in sections))
    yield from plain if any(text.strip() for text in plain) else rich


def _text(part: email.message.Message) -> str:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return ""
    charset = part.get_content_charset() or ""
    for encoding in (charset if _TEXT_CHARSETS.fullmatch(charset) else "", "utf-8"):
        try:
            if encoding:
                return data.decode(encoding)
        except (UnicodeError, LookupError):
            continue
    return data.decode("cp1252", "replace")


def _header(message: email.message.Message, name: str) -> str:
    value = message.get(name)
    if value is None:
        return ""
    text = str(value)[: 10 * MAX_HEADER_CHARS]
    with contextlib.suppress(ValueError, LookupError, email.errors.HeaderParseError):
        text = str(email.header.make_header(email.header.decode_header(text)))
    return " ".join(clean(text).split())[:MAX_HEADER_CHARS]
