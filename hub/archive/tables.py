"""The tables of the archive: turns with their deliveries, judgements, facts with their history, and how far it has come.

The full-text index over questions and answers is made by the migration: FTS5 in SQLite, `to_tsvector` in PostgreSQL.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hub.database import Base, StoredText, UtcDateTime
from hub.messages import Turn

FULL_TEXT = "archived_turns_words"
"""Virtual table of SQLite that holds the words of the turns, kept up to date by triggers."""
ERASURES = "erasures"
"""Among the positions, a count of erasures: whoever has read texts before one may write none of them after it."""


class ArchivedTurnRow(Base):
    """One turn, and what became of its reply."""

    __tablename__ = "archived_turns"
    __table_args__ = (
        UniqueConstraint("conversation", "turn"),
        Index(None, "connector", "account", "person"),
        Index(None, "conversation", "place"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation: Mapped[str] = mapped_column(StoredText)
    turn: Mapped[str] = mapped_column(StoredText)
    """Entry id; two shards may have the same one, a conversation may not."""
    place: Mapped[str] = mapped_column(StoredText)
    """The entry id in a form that sorts by age as text."""
    connector: Mapped[str] = mapped_column(StoredText)
    account: Mapped[str] = mapped_column(StoredText)
    person: Mapped[str] = mapped_column(StoredText)
    identity: Mapped[str] = mapped_column(StoredText, index=True)
    """Who that is as the channel vouches for them; empty where it does not."""
    is_group: Mapped[bool]
    address: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    kind: Mapped[str] = mapped_column(StoredText)
    code: Mapped[str] = mapped_column(StoredText)
    route: Mapped[str] = mapped_column(StoredText)
    model: Mapped[str] = mapped_column(StoredText)
    question: Mapped[str] = mapped_column(StoredText)
    """Empty where the history did not hold the turn any more, or never did."""
    answer: Mapped[str] = mapped_column(StoredText)
    sources: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    answered_at: Mapped[datetime] = mapped_column(UtcDateTime)
    delivery: Mapped[str] = mapped_column(StoredText)
    """`placed`, `failed` or `gave_up`; empty while it is under way."""
    delivered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    unclear_sends: Mapped[int]

    def to_turn(self) -> Turn:
        """Return it as the history keeps it."""
        return Turn.model_validate(
            {
                "turn": self.turn,
                "address": self.address,
                "question": self.question,
                "answer": self.answer,
                "kind": self.kind,
                "code": self.code,
                "sources": self.sources,
                "asked_at": self.asked_at,
                "answered_at": self.answered_at,
            }
        )


class ArchivedFeedbackRow(Base):
    """What somebody thinks of an answer, as they said last."""

    __tablename__ = "archived_feedback"
    __table_args__ = (Index(None, "connector", "person"),)

    conversation: Mapped[str] = mapped_column(StoredText, primary_key=True)
    turn: Mapped[str] = mapped_column(StoredText, primary_key=True)
    person: Mapped[str] = mapped_column(StoredText, primary_key=True)
    connector: Mapped[str] = mapped_column(StoredText)
    value: Mapped[str] = mapped_column(StoredText)
    judged_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ArchivedFactRow(Base):
    """One fact that a person told, whether it holds or was replaced by a later one of its key."""

    __tablename__ = "archived_facts"
    __table_args__ = (
        UniqueConstraint("conversation", "owner", "key", "turn"),
        Index(None, "connector", "account", "person"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation: Mapped[str] = mapped_column(StoredText)
    owner: Mapped[str] = mapped_column(StoredText)
    """The person in a group; empty in a private conversation, whose facts are all one person's."""
    connector: Mapped[str] = mapped_column(StoredText)
    account: Mapped[str] = mapped_column(StoredText)
    person: Mapped[str] = mapped_column(StoredText)
    identity: Mapped[str] = mapped_column(StoredText, index=True)
    key: Mapped[str] = mapped_column(StoredText)
    text: Mapped[str] = mapped_column(StoredText)
    quote: Mapped[str] = mapped_column(StoredText)
    found_by: Mapped[str] = mapped_column(StoredText)
    turn: Mapped[str] = mapped_column(StoredText)
    place: Mapped[str] = mapped_column(StoredText)
    """As in the turn's row; the last of an owner's facts of one key is the one that holds."""
    told_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ArchivePositionRow(Base):
    """How far an events stream has been projected; written in the transaction of what was read."""

    __tablename__ = "archive_positions"

    stream: Mapped[str] = mapped_column(StoredText, primary_key=True)
    position: Mapped[str] = mapped_column(StoredText)


def place_of(turn: str) -> str:
    """Write an entry id so that ids sort by age as text: milliseconds and number in 16 and 8 digits."""
    milliseconds, _, number = turn.partition("-")
    if not (turn.isascii() and milliseconds.isdigit() and (number or "0").isdigit()) or len(turn) > 41:
        return ""
    return f"{int(milliseconds):016d}{int(number or 0):08d}"
