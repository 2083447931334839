"""The contract of a source: it lists what it holds, and each entry can be read by itself."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from hub.errors import DocumentUnreadable, KnowledgeError


class SourceUnreadable(KnowledgeError):
    """A source as a whole cannot be read; nothing of it is touched."""


class DocumentGone(DocumentUnreadable):
    """The source says that it does not have this document any more."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "unreachable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A document's bytes."""

    data: bytes
    name: str
    """File name; its suffix tells how the bytes are read."""
    charset: str = ""
    """Encoding of text, where the source tells it."""
    source_version: str = ""
    """What the source calls this version; empty where it has no name for it."""


Read = Callable[[str], Content | None]
"""Reads a document.

Takes the source's name of the version that is known, empty where none is; gives None when it is still that one.
Raises DocumentUnreadable where it cannot be read. Called from any thread.
"""


def _nothing(_: str) -> Content | None:
    raise DocumentUnreadable("is not read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One document of a source, not read yet."""

    root: str
    """The source it belongs to."""
    location: str
    """What citations show, and what names it within its source."""
    read: Read = _nothing
    problem: str = ""
    """Why it cannot be read, where that is known already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a source holds."""

    items: Sequence[Item]
    is_whole: bool = True
    """Whether what was known of this source and is not among the items is gone."""


class Source(Protocol):
    """Something that holds documents."""

    @property
    def root(self) -> str:
        """What names the source in the database: a word, a colon, and its address."""

    def open(self) -> AbstractContextManager[Listing]:
        """Get at the documents; what is needed for it is cleared away at the end. Blocks.

        Raises: SourceUnreadable: it cannot be had.
        """
