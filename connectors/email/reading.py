"""Raw bytes of a mail into what the hub needs of it; runs in the parsing process only."""

import email
import email.policy
import hashlib
import re
from email.message import Message
from typing import Any

from connectors.email import authentication, automatic, bounces, files, headers
from connectors.email.ids import own_message_ids
from connectors.email.mail import ParseJob
from connectors.email.parts import charset, children, is_file, is_multipart, payload
from connectors.email.phrases import speaks_as_the_hub
from hub.errors import HubError
from hub.text import normalise

MAX_HEADER_BYTES = 262_144
MAX_HEADER_LINES = 500
MAX_PARTS = 200
MAX_DEPTH = 20
MAX_BOUNDARY_LINES = 5_000
MAX_TEXT_CHARS = 204_800

_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n|\r\r")


class UnreadableMailError(HubError):
    """The mail breaks a limit; the text says which and goes into the quarantine."""


def read(raw: bytes, job: ParseJob) -> dict[str, Any]:
    """Parse one mail.

    Returns: the fields of ParsedMail, ready for JSON.
    Raises: UnreadableMailError: it is too large, too deep or too split up.
    """
    body_start = _check_raw(raw)
    try:
        message = email.message_from_bytes(raw, policy=email.policy.compat32)
        _check_structure(message)
    except RecursionError:
        raise UnreadableMailError("parts are nested too deep") from None
    fields = _header_fields(message, job)
    whole, text, quoted = _body(message)
    fields |= {
        "report": bounces.report_of(raw, fields["automatic"], job.own),
        "text": text,
        "quoted": quoted,
        "has_own_words": speaks_as_the_hub(whole),
        "attachments": files.files_of(message, _text_of, with_bytes=job.reads_files),
        "content_digest": hashlib.sha256(raw[body_start:]).hexdigest(),
    }
    if not fields["automatic"] and not fields["suspicious"]:
        if _is_encrypted(message) or text.startswith("-----BEGIN PGP MESSAGE"):
            fields["automatic"] = "encrypted"
        elif not text and not (job.reads_files and fields["attachments"]):
            fields["automatic"] = "empty"
    return fields


def _check_raw(raw: bytes) -> int:
    end = _END_OF_HEADERS.search(raw, 0, MAX_HEADER_BYTES + 4)
    if end is None and len(raw) > MAX_HEADER_BYTES:
        raise UnreadableMailError("the header is larger than 256 KiB")
    size = end.start() if end else len(raw)
    if raw.count(b"\n", 0, size) > MAX_HEADER_LINES:
        raise UnreadableMailError(f"the header has more than {MAX_HEADER_LINES} lines")
    # Counted before the parser spends seconds on a mail of 100,000 parts.
    if b"multipart/" in raw[:size].lower() and raw.count(b"\n--") > MAX_BOUNDARY_LINES:
        raise UnreadableMailError("the mail has too many parts")
    return end.end() if end else size


def _check_structure(message: Message) -> None:
    level: list[Message] = [message]
    depth = count = 0
    while level:
        depth += 1
        count += len(level)
        if depth > MAX_DEPTH:
            raise UnreadableMailError("parts are nested too deep")
        if count > MAX_PARTS:
            raise UnreadableMailError("the mail has too many parts")
        level = [child for part in level for child in children(part)]


def _header_fields(message: Message, job: ParseJob) -> dict[str, Any]:
    from_values = headers.raw_values(message, "From")
    senders = headers.addresses(from_values)
    name, sender = senders[0] if len(senders) == 1 else ("", "")
    ids = headers.message_ids(headers.raw_values(message, "Message-ID"))
    verdict = authentication.dmarc(message, job.authserv_id)
    suspicious = "two_senders" if len(from_values) > 1 or len(senders) > 1 else ""
    why = "" if suspicious else automatic.reason(message, sender, job)
    sent = headers.date(message)
    in_reply_to, references = (headers.raw_values(message, name) for name in ("In-Reply-To", "References"))
    return {
        "sender": sender,
        "sender_name": normalise(name),
        "to": _plain(message, "To"),
        "cc": _plain(message, "Cc"),
        "reply_to": _plain(message, "Reply-To"),
        "subject": normalise(headers.decoded(headers.first(message, "Subject"), 500)),
        "message_id": ids[0] if len(ids) == 1 else "",
        "in_reply_to": headers.message_ids(in_reply_to),
        "references": headers.message_ids(references),
        "own_references": len(own_message_ids([*in_reply_to, *references], job.own)),
        "automatic": why or ("sender_not_authentic" if verdict == "fail" else ""),
        "suspicious": suspicious,
        "dmarc": verdict,
        "date": sent.isoformat() if sent else None,
    }


def _plain(message: Message, name: str) -> list[str]:
    values = headers.raw_values(message, name)
    if headers.count_addresses(values) > headers.MAX_ADDRESSES:
        return []
    return [address for _, address in headers.addresses(values)]


def _body(message: Message) -> tuple[str, str, str]:
    """Return the text as it came, what is new in it, and what is quoted."""
    from connectors.email import html, quotes  # noqa: PLC0415 - only mail that is read through pays for them

    plain, rich = _texts(message)
    if plain.strip() or not rich.strip():
        whole, history = normalise(plain[:MAX_TEXT_CHARS]), ""
    else:
        whole, history = (normalise(text[:MAX_TEXT_CHARS]) for text in html.text_of(rich))
    fresh, quoted = quotes.split(whole)
    quoted = "\n".join(piece for piece in (quoted, history) if piece)
    return whole, fresh, quoted[: quotes.MAX_CHARS]


def _text_of(message: Message) -> str:
    """Return the text of a mail that is attached to another."""
    return _body(message)[1]


def _texts(part: Message) -> tuple[str, str]:
    """Return the plain text and the HTML of a part; the structure is known to be at most 20 deep."""
    kind = part.get_content_type()
    if is_multipart(part):
        pairs = [_texts(child) for child in children(part)]
        plain, rich = [p for p, _ in pairs if p], [r for _, r in pairs if r]
        if kind == "multipart/alternative":
            return (plain[0] if plain else ""), (rich[-1] if rich else "")
        return "\n\n".join(plain), "\n".join(rich)
    if kind not in {"text/plain", "text/html"} or is_file(part):
        return "", ""
    data, declared = payload(part), charset(part)
    if kind == "text/plain":
        return headers.decode(data, declared), ""
    from connectors.email import html  # noqa: PLC0415

    return "", headers.decode(data, declared or html.charset_of(data))


def _is_encrypted(message: Message) -> bool:
    kind = message.get_content_type()
    if kind == "multipart/encrypted":
        return True
    return kind.endswith("pkcs7-mime") and "signed" not in headers.first(message, "Content-Type").lower()
