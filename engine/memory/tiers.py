"""Where a conversation's memory is read from: this process, Redis, and the archive where Redis has lost it.

What this process holds counts only while Redis has the version that was written with it. Every commit, and whatever else
changes the memory of a conversation, changes its version; so no process can answer from what another one has changed.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from engine.memory.style import Style
from engine.memory.summary import Summary
from hub.bus.bus import Bus
from hub.errors import HubError
from hub.facts import Fact
from hub.messages import Turn

if TYPE_CHECKING:
    # Its libraries take a while to import, which a model that is being loaded need not wait for.
    from hub.archive.archive import Archive

log = structlog.get_logger(__name__)

RESTORED_TURNS = 50
"""The most turns of a lost conversation that come back from the archive."""
ARCHIVE_TIMEOUT_S = 2.0
"""A person waits for the answer: without the archive the conversation begins anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """All that is remembered of one person in one conversation."""

    turns: Sequence[Turn] = ()
    """The latest, oldest first: the window, and those before it that are not in the summary yet."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    summary: Summary = field(default_factory=Summary)
    preferences: Mapping[str, str] = field(default_factory=dict)
    style: Style = field(default_factory=Style)
    is_restored: bool = False
    """Whether it comes from the archive, and Redis does not hold it."""


class MemoryTiers:
    """Reads what is remembered from the nearest place that is sure to be right.

    Args:
        archive: None where there is none.
        history_turns: turns that Redis keeps.
        recalled_turns: turns of the window.
        cached: conversations held in this process.
    """

    def __init__(
        self, bus: Bus, archive: "Archive | None", *, history_turns: int, recalled_turns: int, cached: int
    ) -> None:
        self._history = bus.history
        self._archive = archive
        self._history_turns = history_turns
        self._recalled_turns = recalled_turns
        self._cached = cached
        self._held: OrderedDict[tuple[str, str], tuple[str, Remembered]] = OrderedDict()

    async def read(self, conversation: str, owner: str, *, may_restore: bool = True) -> Remembered:
        """Return what is remembered.

        Args:
            owner: the person in a group; empty in a private conversation.
            may_restore: whether it is worth looking into the archive for a conversation that Redis does not know.

        Raises: BusError: Redis is away.
        """
        # Before everything else: what is read after it may be newer than its version, and is then read again.
        version = await self._history.version(conversation)
        held = self._held.get((conversation, owner))
        if version and held and held[0] == version:
            self._held.move_to_end((conversation, owner))
            return held[1]
        remembered = await self._from_redis(conversation, owner)
        if may_restore and not version and not remembered.turns and self._archive is not None:
            # Forgetting leaves a version behind: without one, nothing was ever said here, or Redis has lost it.
            return await self._from_archive(self._archive, conversation, owner)
        if version:
            self.hold(conversation, owner, version, remembered)
        return remembered

    def hold(self, conversation: str, owner: str, version: str, remembered: Remembered) -> None:
        """Hold what is, or is about to be, in Redis under a version that nothing else has.

        Where the commit that carries the version is refused, Redis never has it, and what is held here is never used.
        """
        self._held[conversation, owner] = (version, remembered)
        self._held.move_to_end((conversation, owner))
        while len(self._held) > self._cached:
            self._held.popitem(last=False)

    def drop(self, conversation: str, owner: str) -> None:
        """Hold nothing of a conversation."""
        self._held.pop((conversation, owner), None)

    def forget(self, conversations: Collection[str]) -> None:
        """Hold nothing of conversations, whoever's words it is."""
        for held in [key for key in self._held if key[0] in conversations]:
            del self._held[held]

    async def _from_redis(self, conversation: str, owner: str) -> Remembered:
        history = self._history
        turns, facts, fields, preferences, style = await asyncio.gather(
            # The turn before the window shows whether the summary has come as far as the window begins.
            history.turns(conversation, last=self._recalled_turns + 1),
            history.proven_facts(conversation, owner),
            history.summary(conversation),
            history.preferences(conversation),
            history.style(conversation, owner),
        )
        summary = Summary.from_fields(fields)
        if len(turns) > self._recalled_turns and not summary.holds(turns[0]):
            # There was no summary yet, or the window has become smaller.
            turns = await history.turns(conversation, last=self._history_turns)
        return Remembered(
            turns=tuple(turns),
            facts=facts,
            summary=summary,
            preferences=preferences,
            style=Style.from_fields(style),
        )

    async def _from_archive(self, archive: "Archive", conversation: str, owner: str) -> Remembered:
        last = min(self._history_turns, RESTORED_TURNS)
        try:
            async with asyncio.timeout(ARCHIVE_TIMEOUT_S):
                archived = await archive.recall(conversation, owner, last=last)
        except (HubError, TimeoutError) as error:
            log.warning("archive_not_recalled", conversation=conversation, error=type(error).__name__)
            return Remembered()
        if not archived.turns and not archived.facts:
            return Remembered()
        log.info("conversation_restored", conversation=conversation, turns=len(archived.turns))
        return Remembered(turns=archived.turns, facts=archived.facts, is_restored=True)
