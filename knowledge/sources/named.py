"""Makes sources of what an operator names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hub.settings import Settings
from knowledge.sources.base import Source
from knowledge.sources.fetch import FetchLimits
from knowledge.sources.git import GitSource
from knowledge.sources.git_program import GitLimits
from knowledge.sources.mbox import MboxSource
from knowledge.sources.web import WebListSource, WebSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What is to be taken in beside files and folders."""

    pages: Sequence[str] = ()
    """Addresses of web pages."""
    page_lists: Sequence[Path] = ()
    """Files with one address a line."""
    mailboxes: Sequence[Path] = ()
    """Files in mbox format."""
    repositories: Sequence[str] = ()
    """Paths or addresses of git repositories."""


def sources_of(named: Named, settings: Settings) -> list[Source]:
    """Make the sources, within the limits of the settings.

    Raises: DocumentUnreadable: a repository is neither a folder nor an address that may be asked.
    """
    return list(_sources(named, settings))


def _sources(named: Named, settings: Settings) -> Iterator[Source]:
    knowledge = settings.knowledge
    limits = FetchLimits(
        max_bytes=knowledge.max_document_bytes,
        timeout_s=knowledge.page_timeout_s,
        allowed=knowledge.web_networks,
    )
    if named.pages:
        yield WebSource(named.pages, limits)
    for file in named.page_lists:
        yield WebListSource(file.expanduser().absolute(), limits)
    for file in named.mailboxes:
        yield MboxSource(file.expanduser().absolute(), max_mail_bytes=knowledge.max_document_bytes)
    for repository in named.repositories:
        yield GitSource(
            repository,
            settings.data.expanduser().resolve(),
            GitLimits(max_bytes=knowledge.max_repository_bytes),
            max_document_bytes=knowledge.max_document_bytes,
            allowed=knowledge.web_networks,
        )
