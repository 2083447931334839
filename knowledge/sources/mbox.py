"""A mailbox file as a source: each mail in it is a document.

The file is only cut at the lines between two mails, piece by piece, whatever its size; what a mail says is read by
`knowledge.mail` in a limited process.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from hub.errors import DocumentUnreadable
from knowledge.mail import MAIL_SUFFIX
from knowledge.sources.base import Content, Item, Listing, SourceUnreadable

MAX_MAILS = 1_000_000
MAX_LINE_BYTES = 65_536
"""Longer lines are read in pieces."""
HEAD_BYTES = 65_536
_FROM = b"From "
_MESSAGE_ID = re.compile(
    rb"^message-id:[ \t]*(?:\r?\n[ \t]+)?<([!-~]{1,250}?)>", re.IGNORECASE | re.MULTILINE
)
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where a mail lies in its file."""

    start: int
    size_bytes: int
    location: str
    digest: str
    """Of its beginning and its size."""


class MboxSource:
    """A file in mbox format. Source: RFC 4155, and mboxrd for quoted "From " lines."""

    def __init__(self, file: Path, *, max_mail_bytes: int) -> None:
        self.root = f"mbox:{file}"
        self._file = file
        self._max_bytes = max_mail_bytes

    @contextmanager
    def open(self) -> Iterator[Listing]:
        """Find the mails."""
        try:
            with self._file.open("rb") as opened:
                spans = _named(find_mails(opened), opened)
        except OSError as error:
            raise SourceUnreadable(f"the mailbox cannot be read: {error.strerror}") from error
        items = [
            Item(root=self.root, location=span.location, read=partial(self._read, span)) for span in spans
        ]
        yield Listing(items=items)

    def _read(self, span: Span, _: str) -> Content | None:
        if span.size_bytes > self._max_bytes:
            raise DocumentUnreadable(f"is larger than {self._max_bytes} bytes", "too_large")
        try:
            with self._file.open("rb") as opened:
                opened.seek(span.start)
                data = opened.read(span.size_bytes)
        except OSError as error:
            raise DocumentUnreadable(f"cannot be read: {error.strerror}") from error
        # Mail programs write a mailbox anew: another mail may lie there by now.
        if len(data) != span.size_bytes or _digest(data[:HEAD_BYTES], span.size_bytes) != span.digest:
            raise DocumentUnreadable("the mailbox changed while it was read")
        return Content(data=_QUOTED_FROM.sub(rb"\1", data), name=f"mail{MAIL_SUFFIX}")


def find_mails(opened: BinaryIO) -> list[tuple[int, int]]:
    """Find where mails begin and how long they are, in bytes.

    Raises: SourceUnreadable: it is no mailbox, or holds too many.
    """
    found: list[tuple[int, int]] = []
    start: int | None = None
    position, after_blank, begins_line = 0, True, True
    while line := opened.readline(MAX_LINE_BYTES):
        if begins_line and after_blank and line.startswith(_FROM):
            if start is not None:
                found.append((start, position - start))
            start = position + len(line)
        elif start is None and line.strip():
            raise SourceUnreadable('this is no mailbox: expected a first line that begins with "From "')
        position += len(line)
        after_blank = begins_line and not line.strip()
        begins_line = line.endswith(b"\n")
        if len(found) > MAX_MAILS:
            raise SourceUnreadable(f"the mailbox holds more than {MAX_MAILS} mails")
    if start is not None:
        found.append((start, position - start))
    return found


def _named(places: list[tuple[int, int]], opened: BinaryIO) -> list[Span]:
    """Name each mail by its Message-ID, else by what it says; of mails that are the same, one is kept."""
    spans: dict[str, Span] = {}
    for start, size in places:
        opened.seek(start)
        head = opened.read(min(size, HEAD_BYTES))
        headers = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
        found = _MESSAGE_ID.search(headers)
        digest = _digest(head, size)
        location = found[1].decode("ascii") if found else f"mail {digest}"
        if location in spans and spans[location].digest != digest:
            # A name that was used twice; the mails themselves are two.
            location = f"{location} {digest}"
        spans.setdefault(location, Span(start=start, size_bytes=size, location=location, digest=digest))
    return list(spans.values())


def _digest(head: bytes, size_bytes: int) -> str:
    return hashlib.sha256(head + str(size_bytes).encode()).hexdigest()[:16]
