"""Reads a file into a document: a title and sections of clean text, each under its heading path.

What a document says is data: markup that hides text and characters that nobody can see are taken out here,
once, so that nothing later needs to think of them.
"""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePath

from hub.documents.docx import read_docx
from hub.documents.html import read_html
from hub.documents.markdown import Section, read_markdown
from hub.documents.pdf import read_pdf
from hub.errors import DocumentUnreadable

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
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
    ".docx": DOCX,
}
"""Documents, by the suffix of their name."""
CODE_SUFFIXES = frozenset(
    [
        ".bash",
        ".bat",
        ".c",
        ".cc",
        ".cfg",
        ".cpp",
        ".cs",
        ".css",
        ".csv",
        ".diff",
        ".env",
        ".go",
        ".h",
        ".hpp",
        ".ini",
        ".ipynb",
        ".java",
        ".js",
        ".json",
        ".jsonl",
        ".jsx",
        ".kt",
        ".lua",
        ".log",
        ".mjs",
        ".patch",
        ".php",
        ".pl",
        ".ps1",
        ".py",
        ".r",
        ".rb",
        ".rs",
        ".scala",
        ".sh",
        ".sql",
        ".svelte",
        ".swift",
        ".tex",
        ".toml",
        ".ts",
        ".tsv",
        ".tsx",
        ".vue",
        ".xml",
        ".yaml",
        ".yml",
    ]
)
CODE = "text/x-source"

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
_MARKS = {
    b"PK\x03\x04": "zip",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "encrypted",
    b"MZ": "program",
    b"\x7fELF": "program",
    b"\x89PNG": "image",
    b"\xff\xd8\xff": "image",
    b"GIF8": "image",
    b"Rar!": "archive",
    b"7z\xbc\xaf": "archive",
    b"\x1f\x8b": "archive",
}
"""How files begin that are not text. Office writes its encrypted files, and those of before 2007, as OLE."""
_PDF_HEADER_BYTES = 1024
"""Source: ISO 32000-1, annex H.3, implementation note 13."""


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
    suffix = path.suffix.lower()
    return CODE if suffix in CODE_SUFFIXES else MEDIA_TYPES.get(suffix)


def is_document(path: PurePath) -> bool:
    """Tell by its name whether a file is written for readers, and not code or data."""
    return path.suffix.lower() in MEDIA_TYPES


def load(path: Path, max_bytes: int) -> bytes:
    """Read a file's bytes.

    Raises: DocumentUnreadable: it cannot be read, is no plain file or is larger than `max_bytes`.
    """
    try:
        if not path.is_file():
            raise DocumentUnreadable("is not a file", "unsupported")
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise DocumentUnreadable(f"cannot be read: {error.strerror}") from error
    if len(data) > max_bytes:
        raise DocumentUnreadable(f"is larger than {max_bytes} bytes", "too_large")
    return data


def version_of(data: bytes) -> str:
    """Give the content hash that stands for this version of a document."""
    return hashlib.sha256(data).hexdigest()


def parse(data: bytes, name: str, *, is_isolated: bool = False, charset: str = "") -> Document:
    """Turn a file's bytes into a document.

    Args:
        name: file name; its suffix tells the media type, its stem is the title of last resort.
        is_isolated: whether this process holds nothing that a crafted file could harm; else the riskiest formats are read
            in one that does not.
        charset: encoding of text, where whoever sent it says so.

    Raises: DocumentUnreadable: the bytes are not what the name says, or hold no text.
    """
    media_type = media_type_of(PurePath(name))
    if media_type is None:
        suffix = PurePath(name).suffix or "without a suffix"
        raise DocumentUnreadable(f"files of type {suffix} are not read", "unsupported")
    _check_kind(data, media_type)
    try:
        title, sections = _read(data, media_type, is_isolated=is_isolated, charset=charset)
    except DocumentUnreadable:
        raise
    except Exception as error:
        # Whatever a hostile file makes a parser raise is about this file alone.
        raise DocumentUnreadable(f"cannot be read: {type(error).__name__}: {error}") from error
    cleaned = tuple(
        Section(heading=_one_line(section.heading), text=text)
        for section in sections
        if any(map(str.isalnum, text := clean(section.text)))
    )
    if not cleaned:
        raise DocumentUnreadable("holds no text", "empty")
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


def decode(data: bytes, charset: str = "") -> str:
    """Turn bytes into text by byte order mark, UTF-8, what was said of them, declaration, or the likeliest encoding.

    Raises: DocumentUnreadable: the bytes are not text.
    """
    if data.startswith(_UTF16):
        return data.decode("utf-16", "replace")
    if b"\0" in data[:_SAMPLE_BYTES]:
        raise DocumentUnreadable("is not text", "unsupported")
    declared = _DECLARED.search(data[:2048])
    for encoding in ("utf-8-sig", charset, declared[1].decode("ascii") if declared else None):
        try:
            if encoding:
                return data.decode(encoding)
        except (LookupError, ValueError):
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


def _check_kind(data: bytes, media_type: str) -> None:
    """Refuse what another program wrote than the name says."""
    kind = next((kind for mark, kind in _MARKS.items() if data.startswith(mark)), "")
    if kind == "encrypted":
        raise DocumentUnreadable("is protected by a password, or of an old format", "encrypted")
    is_pdf = b"%PDF-" in data[:_PDF_HEADER_BYTES]
    expected = {"application/pdf": is_pdf, DOCX: kind == "zip"}
    if not expected.get(media_type, not (kind or is_pdf)):
        raise DocumentUnreadable(f"is not what its name says ({media_type})", "unsupported")


def _read(data: bytes, media_type: str, *, is_isolated: bool, charset: str) -> tuple[str, list[Section]]:
    match media_type:
        case "text/markdown":
            return read_markdown(decode(data, charset))
        case "text/html":
            return read_html(decode(data, charset))
        case "application/pdf":
            return read_pdf(data, is_isolated=is_isolated)
        case _ if media_type == DOCX:
            return read_docx(data)
    return "", [Section(heading="", text=decode(data, charset))]
