"""Reads a file into a document: a title and sections of clean text, each under its heading path.

What a document says is data: markup that hides text and characters that nobody can see are taken out here,
once, so that nothing later needs to think of them.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

from hub.errors import KnowledgeError
from knowledge.html import read_html
from knowledge.markdown import Section, read_markdown
from knowledge.pdf import read_pdf

MEDIA_TYPES = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".txt": "text/plain",
    ".text": "text/plain",
    ".rst": "text/plain",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".pdf": "application/pdf",
}

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed
    "\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # soft hyphen, fillers, Mongolian selectors
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # zero width, directions, annotations
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # musical formats, tags and variation selectors
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"  # lone surrogates, non-characters
)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DECLARED = re.compile(
    rb"""<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]{2,40})""", re.IGNORECASE
)
_SAMPLE_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a file says."""

    title: str
    media_type: str
    sections: tuple[Section, ...]
    version: str
    """SHA-256 of the file's bytes."""
    size_bytes: int


def media_type_of(path: PurePath) -> str | None:
    """Give the media type by the file name, or None for a file that is not read."""
    return MEDIA_TYPES.get(path.suffix.lower())


def load(path: Path, max_bytes: int) -> bytes:
    """Read a file's bytes.

    Raises: KnowledgeError: it cannot be read, is no plain file or is larger than `max_bytes`.
    """
    try:
        if not path.is_file():
            raise KnowledgeError("is not a file")
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise KnowledgeError(f"cannot be read: {error.strerror}") from error
    if len(data) > max_bytes:
        raise KnowledgeError(f"is larger than {max_bytes} bytes")
    return data


def version_of(data: bytes) -> str:
    """Give the content hash that stands for this version of a document."""
    return hashlib.sha256(data).hexdigest()


def parse(data: bytes, name: str) -> Document:
    """Turn a file's bytes into a document.

    Args:
        name: file name; its suffix tells the media type, its stem is the title of last resort.

    Raises: KnowledgeError: the bytes are not what the name says, or hold no text.
    """
    media_type = media_type_of(PurePath(name))
    if media_type is None:
        raise KnowledgeError(f"files of type {PurePath(name).suffix or 'without a suffix'} are not read")
    try:
        title, sections = _READERS[media_type](data)
    except KnowledgeError:
        raise
    except Exception as error:
        # Whatever a hostile file makes a parser raise is about this file alone.
        raise KnowledgeError(f"cannot be read: {type(error).__name__}: {error}") from error
    cleaned = tuple(
        Section(heading=_one_line(section.heading), text=text)
        for section in sections
        if any(map(str.isalnum, text := clean(section.text)))
    )
    if not cleaned:
        raise KnowledgeError("holds no text")
    return Document(
        title=_one_line(title)[:200] or PurePath(name).stem,
        media_type=media_type,
        sections=cleaned,
        version=version_of(data),
        size_bytes=len(data),
    )


def clean(text: str) -> str:
    """Normalise text and take out the characters that nobody can see."""
    lines = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _INVISIBLE.sub("", lines).strip()


def decode(data: bytes) -> str:
    """Turn bytes into text by byte order mark, declaration, UTF-8, or the likeliest encoding.

    Raises: KnowledgeError: the bytes are not text.
    """
    if data.startswith(_UTF16):
        return data.decode("utf-16", "replace")
    if b"\0" in data[:_SAMPLE_BYTES]:
        raise KnowledgeError("is not text")
    declared = _DECLARED.search(data[:2048])
    for encoding in ("utf-8-sig", declared[1].decode("ascii") if declared else None):
        try:
            if encoding:
                return data.decode(encoding)
        except (LookupError, UnicodeError):
            continue
    return data.decode(_likely_encoding(data[:_SAMPLE_BYTES]), "replace")


def _likely_encoding(sample: bytes) -> str:
    from charset_normalizer import from_bytes  # noqa: PLC0415 - seldom needed

    guess = from_bytes(sample).best()
    # A short text fits many encodings alike; of those the commonest is the likeliest.
    if guess is None or "cp1252" in guess.could_be_from_charset:
        return "cp1252"
    return guess.encoding


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())


def _plain(data: bytes) -> tuple[str, list[Section]]:
    return "", [Section(heading="", text=decode(data))]


_READERS: dict[str, Callable[[bytes], tuple[str, list[Section]]]] = {
    "text/markdown": lambda data: read_markdown(decode(data)),
    "text/plain": _plain,
    "text/html": lambda data: read_html(decode(data)),
    "application/pdf": read_pdf,
}
