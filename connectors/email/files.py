"""The files that came with a mail: their names made harmless, their bytes within limits, never opened here."""

from base64 import b64encode
from collections.abc import Callable
from email.message import Message
from typing import Any

from connectors.email import headers
from connectors.email.parts import children, is_file, is_multipart, payload
from hub.text import normalise, without_unsafe

MAX_FILES = 20
MAX_BYTES = 10_485_760
"""Of all files of one mail together."""
MAX_LISTED = 50
MAX_ATTACHED_MAILS = 5
"""Whose text is read: it costs as much as that of the mail itself."""

_SIGNATURES = frozenset(
    {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"}
)
_BODIES = frozenset({"text/plain", "text/html", "text/x-amp-html", "text/watch-html"})


def files_of(
    message: Message, read_mail: Callable[[Message], str], *, with_bytes: bool
) -> list[dict[str, Any]]:
    """Return the fields of an AttachedFile for each file.

    Args:
        read_mail: gives the text of a mail that is attached to this one.
        with_bytes: whether the bytes go along, as far as the limits allow.
    """
    found: list[dict[str, Any]] = []
    room, mails = MAX_BYTES, 0
    for part in [leaf for leaf in _leaves(message) if _is_attached(leaf)][:MAX_LISTED]:
        media_type, data, text = part.get_content_type(), b"", ""
        if media_type != "message/rfc822":
            data = payload(part)
        elif (mails := mails + 1) <= MAX_ATTACHED_MAILS:
            text = _attached_mail(part, read_mail)
        fits = len(found) < MAX_FILES and len(data) <= room
        file: dict[str, Any] = {
            "name": _name(part),
            "media_type": media_type[:100].encode("ascii", "replace").decode(),
            "size_bytes": len(data),
            "text": text,
        }
        if media_type == "message/external-body":
            # It lies on another server, and nothing is ever fetched for a stranger.
            file["problem"] = "unreachable"
        elif with_bytes and fits:
            room -= len(data)
            file["data"] = b64encode(data).decode("ascii")
        elif with_bytes:
            file["problem"] = "too_large"
        found.append(file)
    return found if with_bytes else found[:MAX_FILES]


def _is_attached(part: Message) -> bool:
    """Tell a file from the text of the mail, its signature and the pictures that belong to its layout."""
    media_type = part.get_content_type()
    if media_type in _SIGNATURES or (media_type in _BODIES and not is_file(part)):
        return False
    is_layout = media_type.startswith("image/") and bool(headers.first(part, "Content-ID"))
    return not is_layout or headers.first(part, "Content-Disposition").lower().startswith("attachment")


def _attached_mail(part: Message, read_mail: Callable[[Message], str]) -> str:
    inner = next(iter(children(part)), None)
    if inner is None:
        return ""
    lines = [
        f"{name}: {normalise(headers.decoded(headers.first(inner, name), 300))}"
        for name in ("From", "Date", "Subject")
    ]
    return "\n".join([*lines, "", read_mail(inner)]).strip()


def _leaves(part: Message) -> list[Message]:
    if is_multipart(part):
        return [leaf for child in children(part) for leaf in _leaves(child)]
    return [part]


def _name(part: Message) -> str:
    try:
        name = part.get_filename() or ""
    except (ValueError, LookupError, IndexError, TypeError, RecursionError):
        name = ""
    name = normalise(headers.decoded(str(name), 300)).replace("\\", "/").rpartition("/")[2]
    return without_unsafe(name).strip(". ")[:100] or "unnamed"
