"""What a person wrote in this mail, apart from the history and the signature it carries along."""

import re

from mailparser_reply.constants import MAIL_LANGUAGES
from mailparser_reply.parser import EmailMessage

MAX_CHARS = 65_536
MAX_LINE_CHARS = 500
MAX_SIGNATURE_LINES = 12

_FORWARDED = re.compile(
    r"^-{3,} ?(forwarded message|weitergeleitete nachricht|message transféré) ?-{3,}",
    re.IGNORECASE | re.MULTILINE,
)


def split(text: str) -> tuple[str, str]:
    """Return (new text, quoted text) of a plain-text body."""
    text = bounded(text)
    replies = EmailMessage(text=text, languages=list(MAIL_LANGUAGES), keep_hyphen_lists=True).read().replies
    newest = replies[0]
    # A mail that begins with the history has no part before it.
    content = "" if newest.headers and newest.content.startswith(newest.headers) else newest.content
    earlier = replies if not content else replies[1:]
    rest = "\n".join(reply.content for reply in earlier)
    fresh, inline = _unquoted(content)
    if not fresh.strip() and earlier:
        # The answer stands below or between the quoted lines.
        fresh, inline = _unquoted(rest.replace(earlier[0].headers or "", "", 1))
        rest = ""
    if not fresh.strip() and _FORWARDED.search(text[:2000]):
        return text.strip(), ""
    signature = newest.signatures if content else ""
    return without_signature(fresh, signature or ""), "\n".join(
        x for x in (inline, rest.strip()) if x
    ).strip()


def bounded(text: str) -> str:
    """Cut a text to what the splitting can take.

    mail-parser-reply is quadratic: 8,000 empty lines took 7.8 s, one line of 16 kB took 4.7 s.
    """
    lines = [line.rstrip()[:MAX_LINE_CHARS] for line in text[:MAX_CHARS].splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def without_signature(text: str, found: str) -> str:
    """Cut the signature off, unless what was taken for one looks like the question."""
    body = re.split(r"(?m)^-- ?$", text, maxsplit=1)[0]
    if found and found in body:
        before = body[: body.index(found)]
        if before.strip() and "?" not in found and found.count("\n") < MAX_SIGNATURE_LINES:
            body = before
    return body.strip()


def _unquoted(text: str) -> tuple[str, str]:
    lines = text.split("\n")
    fresh = [line for line in lines if not line.lstrip().startswith(">")]
    quoted = [line.lstrip("> ") for line in lines if line.lstrip().startswith(">")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(fresh)), "\n".join(quoted)
