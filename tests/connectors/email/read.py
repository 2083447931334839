"""Mail as it is read."""

from connectors.email import reading
from connectors.email.mail import ParsedMail, ParseJob

JOB = ParseJob(addresses=("hub@example.org",), own=("hub@example.org",), authserv_id="mx.example.org")
HEAD = b"From: Jane <jane@example.net>\r\nTo: hub@example.org\r\nMessage-ID: <a@b>\r\nSubject: Q\r\n"


def mail_of(raw: bytes) -> ParsedMail:
    """Read a mail."""
    return ParsedMail.model_validate(reading.read(raw, JOB))


def mail_with(*lines: bytes, body: bytes = b"How?", head: bytes = HEAD) -> ParsedMail:
    """Read a mail with these header lines beside, or instead of, those of `head`."""
    replaced = {line.partition(b":")[0].lower() for line in lines}
    kept = [line for line in head.splitlines() if line.partition(b":")[0].lower() not in replaced]
    return mail_of(b"\r\n".join([*kept, *lines]) + b"\r\n\r\n" + body)


def html_mail(html: str) -> ParsedMail:
    """Read a mail of HTML alone."""
    return mail_with(b"Content-Type: text/html; charset=utf-8", body=html.encode())
