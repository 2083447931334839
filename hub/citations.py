"""What became of the documents that answers cite: looked up when a turn is read, so that no change is missed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

import structlog

from hub.errors import HubError
from hub.messages import Source, Turn

log = structlog.get_logger(__name__)

State = Literal["current", "changed", "gone"]
Cited = tuple[str, str]
"""Location and version of a document."""


class Versions(Protocol):
    """Knows the documents as they are."""

    async def states(self, cited: Iterable[Cited]) -> Mapping[Cited, State]:
        """Tell of each document whether it still is what was cited.

        Raises: KnowledgeError: the documents cannot be read.
        """


class Citations:
    """Marks sources whose documents are not what they were; for history, console and `/sources`."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    async def marked_sources(self, sources: Sequence[Source]) -> tuple[Source, ...]:
        """Return sources with their `state`; empty where the documents cannot be read: an answer is worth more than that."""
        cited = [(source.location, source.version) for source in sources if source.version]
        states: Mapping[Cited, State] = {}
        try:
            states = await self._versions.states(cited) if cited else {}
        except HubError as error:
            log.warning("citations_not_looked_up", error=type(error).__name__)
        return tuple(
            source.model_copy(update={"state": states.get((source.location, source.version), "")})
            for source in sources
        )

    async def marked(self, turns: Sequence[Turn]) -> list[Turn]:
        """Return turns with the `state` of their sources."""
        sources = iter(await self.marked_sources([source for turn in turns for source in turn.sources]))
        return [
            turn.model_copy(update={"sources": tuple(next(sources) for _ in turn.sources)}) for turn in turns
        ]


class History(Protocol):
    """The exchanges of a conversation that have ended."""

    async def turns(self, conversation: str, last: int = 50) -> Sequence[Turn]:
        """Return the newest turns, oldest first."""


class MarkedHistory:
    """A history whose turns tell what became of their sources."""

    def __init__(self, history: History, citations: Citations) -> None:
        self._history = history
        self._citations = citations

    async def turns(self, conversation: str, last: int = 50) -> Sequence[Turn]:
        """Return the newest turns, oldest first, with the `state` of their sources."""
        return await self._citations.marked(await self._history.turns(conversation, last))
