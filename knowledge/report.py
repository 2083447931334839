"""What an ingestion tells: each document as it is dealt with, and all of them at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import structlog

log = structlog.get_logger(__name__)

Outcome = Literal["added", "replaced", "unchanged", "removed", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One document has been dealt with."""

    location: str
    outcome: Outcome
    reason: str = ""
    """Why it failed."""
    done: int
    total: int


@dataclass(slots=True, kw_only=True)
class IngestReport:
    """What became of every document, by location."""

    total: int = 0
    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Location to reason."""
    chunks: int = 0
    """Chunks that were written."""
    code_left_out: int = 0
    """Files of source code in folders that were not asked for."""
    complete: bool = False
    """False when it was stopped before the end."""
    progress: Callable[[Progress], None] | None = field(default=None, repr=False)

    @property
    def done(self) -> int:
        """How many documents have been dealt with."""
        lists = (self.added, self.replaced, self.unchanged, self.removed, self.failed)
        return sum(map(len, lists))

    def note(self, location: str, outcome: Outcome, reason: str = "") -> None:
        """Write down what became of a document and tell it."""
        if outcome == "failed":
            self.failed[location] = reason
            log.warning("document_failed", location=location, reason=reason)
        else:
            getattr(self, outcome).append(location)
        if self.progress:
            self.progress(
                Progress(location=location, outcome=outcome, reason=reason, done=self.done, total=self.total)
            )
