"""Parts of a hostile MIME mail, read without ever raising."""

from email.message import Message

from connectors.email import headers


def is_multipart(part: Message) -> bool:
    """Tell whether a part only holds others."""
    return part.get_content_type().startswith("multipart/")


def children(part: Message) -> list[Message]:
    """Return the parts inside a part."""
    inside = part.get_payload()
    return [child for child in inside if isinstance(child, Message)] if isinstance(inside, list) else []


def payload(part: Message) -> bytes:
    """Return the decoded bytes of a part, as far as its encoding makes sense."""
    try:
        data = part.get_payload(decode=True)
    except (ValueError, LookupError):
        return b""
    return data if isinstance(data, bytes) else b""


def charset(part: Message) -> str | None:
    """Return the character set a part claims to have."""
    try:
        value = part.get_param("charset")
    except (ValueError, IndexError, RecursionError):
        return None
    return value if isinstance(value, str) else None


def is_file(part: Message) -> bool:
    """Tell whether a part is meant to be saved, not shown."""
    disposition = headers.first(part, "Content-Disposition").lower()
    return disposition.startswith("attachment") or (bool(disposition) and "filename" in disposition)
