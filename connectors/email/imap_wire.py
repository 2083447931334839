"""What lies between aioimaplib and the socket, and how things are written in IMAP.

aioimaplib takes an answer of any size, and gets no word of a lost connection; BoundedProtocol ends both.
"""

import asyncio
import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aioimaplib import aioimaplib

KEYWORD = "$HubDone"
"""Marks mail the hub has dealt with; the owner's own marks are never touched."""

UID = re.compile(rb"\bUID (\d+)")
_SIZE = re.compile(rb"RFC822\.SIZE (\d+)")
_INTERNAL_DATE = re.compile(rb'INTERNALDATE "([^"]{20,30})"')
_FLAGS = re.compile(rb"\bFLAGS \(([^)]*)\)")
_LISTED = re.compile(r'^\(([^)]*)\) (?:"\\?(.)"|NIL) (?:"((?:[^"\\]|\\.)*)"|(\S+))$')


@dataclass(frozen=True, slots=True, kw_only=True)
class MailInfo:
    """What is known of a mail before its text is fetched."""

    uid: int
    size_bytes: int
    arrived_at: datetime
    is_marked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFolder:
    """One line of an answer to LIST."""

    name: str
    attributes: frozenset[str]
    """Lower case, such as `\\sent`."""
    delimiter: str
    """Between the levels of a name; empty where there are none."""


class BoundedProtocol(asyncio.Protocol):
    """Stands between transport and aioimaplib: limits an answer's size and turns every end into `lost`."""

    def __init__(self, inner: Any, lost: asyncio.Future[str], limit_bytes: int) -> None:
        self._inner = inner
        self._lost = lost
        self._limit_bytes = limit_bytes
        self._transport: asyncio.BaseTransport | None = None
        self.received_bytes = 0
        self.saw_change = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Hand on what came, unless it is too much or makes no sense."""
        self.received_bytes += len(data)
        self.saw_change = self.saw_change or b" EXISTS\r\n" in data
        if self.received_bytes > self._limit_bytes:
            self._end("the answer is too large")
            return
        try:
            self._inner.data_received(data)
        except (aioimaplib.AioImapException, ValueError, IndexError, RecursionError, AttributeError) as error:
            self._end(f"unexpected answer: {type(error).__name__}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self._end(type(exc).__name__ if exc else "closed by the server")

    def _end(self, why: str) -> None:
        if not self._lost.done():
            self._lost.set_result(why)
        if isinstance(self._transport, asyncio.Transport):
            self._transport.abort()


def quoted(text: str) -> str:
    """Return an IMAP quoted string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def mailbox_name(name: str) -> str:
    """Return a folder's name as it goes over the wire. Source: RFC 3501 section 5.1.3."""
    pieces = re.split(r"([^\x20-\x7e]+)", name.replace("&", "&-"))
    return quoted("".join(piece if i % 2 == 0 else _modified_base64(piece) for i, piece in enumerate(pieces)))


def _modified_base64(text: str) -> str:
    return "&" + b64encode(text.encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"


def folder_name(wire: str) -> str:
    """Return a folder's name as people read it, from how it goes over the wire."""
    return re.sub(r"&([^-]*)-", lambda found: _from_modified_base64(found[1]), wire)


def _from_modified_base64(code: str) -> str:
    if not code:
        return "&"
    padded = code.replace(",", "/") + "=" * (-len(code) % 4)
    try:
        return b64decode(padded, validate=True).decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError):
        return f"&{code}-"


def listed_folders(lines: Iterable[Any]) -> list[ListedFolder]:
    """Return what an answer to LIST names; lines of another form, such as names in literals, are passed over."""
    found = []
    for line in lines:
        match = _LISTED.match(bytes(line).decode("ascii", "replace"))
        if match is not None:
            name = re.sub(r"\\(.)", r"\1", match[3]) if match[3] is not None else match[4]
            attributes = frozenset(match[1].lower().split())
            listed = ListedFolder(name=folder_name(name), attributes=attributes, delimiter=match[2] or "")
            found.append(listed)
    return found


def says_bye(lines: Any) -> bool:
    """Tell whether the server has announced its end."""
    return isinstance(lines, list) and any(bytes(line).upper().startswith(b"BYE") for line in lines)


def mail_info(line: Any) -> MailInfo | None:
    """Read one line of an answer to FETCH; None when it does not tell UID and size."""
    uid, size, flags = UID.search(line), _SIZE.search(line), _FLAGS.search(line)
    if uid is None or size is None:
        return None
    return MailInfo(
        uid=int(uid[1]),
        size_bytes=int(size[1]),
        arrived_at=_internal_date(line),
        is_marked=flags is not None and KEYWORD.encode() in flags[1].split(),
    )


def _internal_date(line: Any) -> datetime:
    found = _INTERNAL_DATE.search(line)
    try:
        text = found[1].decode("ascii").strip() if found else ""
        return datetime.strptime(text, "%d-%b-%Y %H:%M:%S %z").astimezone(UTC)
    except (ValueError, UnicodeDecodeError, OverflowError):
        return datetime.now(UTC)
