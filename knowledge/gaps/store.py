"""Keeps the questions nobody could answer, and puts those together that ask the same."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from hub.guard_settings import GapSettings
from hub.redaction import without_personal_data
from knowledge.gaps.tables import GapRow
from knowledge.passages import Vectors

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

MAX_TEXT_CHARS = 500
_MAX_EXAMPLES = 5
_COLUMNS = (
    GapRow.id,
    GapRow.text,
    GapRow.connector,
    GapRow.language,
    GapRow.asked_at,
    GapRow.embedding,
    GapRow.embedding_model,
    GapRow.proposals,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A question that found no support."""

    turn: str
    ordinal: int = 0
    conversation: str
    connector: str
    text: str
    language: str = ""
    asker: str = ""
    """In a conversation of several, who asked, as the hub digests their name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Questions that ask the same."""

    id: int
    """Of the question that stands for them."""
    question: str
    """The one nearest to the middle of all."""
    count: int
    first_asked: datetime
    last_asked: datetime
    connectors: tuple[str, ...]
    examples: tuple[str, ...]
    """Other wordings, at most five."""
    proposals: tuple[Mapping[str, str], ...] = ()
    """What was found elsewhere: `title`, `text`, `url`; for the operator, never an answer."""
    is_looked_up: bool = False
    questions: tuple[int, ...] = ()
    """Ids of all of them."""


class GapStore:
    """The table of all processes that share one database."""

    def __init__(self, engine: "AsyncEngine", settings: GapSettings) -> None:
        self._engine = engine
        self._settings = settings

    async def note(self, asked: Unanswered, vector: Vectors, embedding_model: str) -> None:
        """Keep a question without what would tell who asked it; the same one of a turn is kept once.

        Args:
            vector: float32, shape (dimension,), of length 1; of the text as `cleaned` returns it.
        """
        values = {
            "turn": f"{asked.asker} {asked.turn}" if asked.asker else asked.turn,
            "ordinal": asked.ordinal,
            "conversation": asked.conversation,
            "connector": asked.connector,
            "text": cleaned(asked.text),
            "language": asked.language,
            "asked_at": datetime.now(UTC),
            "embedding": np.asarray(vector, "<f4").tobytes(),
            "embedding_model": embedding_model,
        }
        insert: Any = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        statement = insert(GapRow).values(values).on_conflict_do_nothing(index_elements=["turn", "ordinal"])
        async with self._engine.execution_options(immediate=True).begin() as connection:
            await connection.execute(statement)
            await self._make_room(connection)

    async def gaps(self) -> list[Gap]:
        """Put the questions together, those asked most often first."""
        query = select(*_COLUMNS).order_by(GapRow.id)
        async with self._engine.connect() as connection:
            rows = list(await connection.execute(query))
        found: list[Gap] = []
        for model in dict.fromkeys(row.embedding_model for row in rows):
            of_model = [row for row in rows if row.embedding_model == model]
            vectors = np.stack([np.frombuffer(row.embedding, "<f4") for row in of_model])
            groups = clusters(vectors, self._settings.similarity)
            found += [_gap([of_model[place] for place in group], vectors[group]) for group in groups]
        return sorted(found, key=lambda gap: (-gap.count, -gap.last_asked.timestamp()))

    async def propose(self, gap_id: int, proposals: Sequence[Mapping[str, str]]) -> None:
        """Keep what was found elsewhere for a gap."""
        statement = (
            update(GapRow).where(GapRow.id == gap_id).values(proposals=[dict(each) for each in proposals])
        )
        async with self._engine.execution_options(immediate=True).begin() as connection:
            await connection.execute(statement)

    async def forget(self, conversation: str, askers: Collection[str] | None = None) -> int:
        """Remove what was asked in a conversation; returns how many questions that were.

        Args:
            askers: those of a conversation of several whose questions go, with those of which nobody knows who asked
                them; None: everybody's.
        """
        async with self._engine.execution_options(immediate=True).begin() as connection:
            done = await connection.execute(delete(GapRow).where(*_asked_by(conversation, askers)))
        return int(done.rowcount)

    async def count(self, conversation: str, askers: Collection[str] | None = None) -> int:
        """Count the questions that `forget` would remove."""
        async with self._engine.connect() as connection:
            own = select(func.count(GapRow.id)).where(*_asked_by(conversation, askers))
            return int((await connection.execute(own)).scalar_one())

    async def rows(
        self, conversation: str = "", askers: Collection[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return the questions that `forget` would remove, oldest first, ready to be written as JSON.

        Args:
            conversation: empty: all questions of everybody.
        """
        columns = (GapRow.conversation, GapRow.connector, GapRow.text, GapRow.language, GapRow.asked_at)
        query = select(*columns).order_by(GapRow.id)
        if conversation:
            query = query.where(*_asked_by(conversation, askers))
        async with self._engine.connect() as connection:
            found = list(await connection.execute(query))
        return [{**row._mapping, "asked_at": row.asked_at.isoformat()} for row in found]

    async def dismiss(self, gap: Gap) -> int:
        """Remove a gap with all its questions, because it is filled or not worth filling."""
        async with self._engine.execution_options(immediate=True).begin() as connection:
            done = await connection.execute(delete(GapRow).where(GapRow.id.in_(gap.questions)))
        return int(done.rowcount)

    async def _make_room(self, connection: Any) -> None:
        oldest = datetime.now(UTC) - timedelta(days=self._settings.keep_days)
        await connection.execute(delete(GapRow).where(GapRow.asked_at < oldest))
        count = (await connection.execute(select(func.count(GapRow.id)))).scalar_one()
        if count > self._settings.max_questions:
            first = select(GapRow.id).order_by(GapRow.id).limit(count - self._settings.max_questions)
            await connection.execute(delete(GapRow).where(GapRow.id.in_(first)))


def _asked_by(conversation: str, askers: Collection[str] | None) -> tuple[ColumnElement[bool], ...]:
    asked_in = GapRow.conversation == conversation
    if askers is None:
        return (asked_in,)
    is_unsigned = ~GapRow.turn.contains(" ")
    return asked_in, or_(
        is_unsigned, *(GapRow.turn.startswith(f"{asker} ", autoescape=True) for asker in sorted(askers))
    )


def cleaned(text: str) -> str:
    """Return a question as it is kept: without secrets, addresses and numbers, and not long."""
    return without_personal_data(text)[:MAX_TEXT_CHARS]


def clusters(vectors: Vectors, similarity: float) -> list[list[int]]:
    """Put vectors together that are alike, each with the middle of a group it is nearest to.

    One pass in order of arrival: the same questions always give the same groups, and each is compared with the
    groups alone, so that 10,000 take about a second.

    Args:
        vectors: float32, shape (n, dimension), each of length 1.
        similarity: least cosine to the middle of a group.

    Returns: positions, grouped; each in one group.
    """
    sums = np.zeros_like(vectors)
    middles = np.zeros_like(vectors)
    groups: list[list[int]] = []
    for place, vector in enumerate(vectors):
        best, nearest = -1.0, -1
        if groups:
            scores = middles[: len(groups)] @ vector
            nearest = int(scores.argmax())
            best = float(scores[nearest])
        if best < similarity:
            groups.append([])
            nearest = len(groups) - 1
        groups[nearest].append(place)
        sums[nearest] += vector
        middles[nearest] = sums[nearest] / (np.linalg.norm(sums[nearest]) or 1)
    return groups


def _gap(rows: Sequence[Any], vectors: Vectors) -> Gap:
    middle = int((vectors @ vectors.mean(axis=0)).argmax())
    asked = rows[middle]
    others = dict.fromkeys(row.text for row in rows if row.text != asked.text)
    # Those that were looked up keep what was found, whichever question stands for all by now.
    looked_up = next((row for row in (asked, *rows) if row.proposals is not None), None)
    return Gap(
        id=asked.id,
        question=asked.text,
        count=len(rows),
        first_asked=min(row.asked_at for row in rows),
        last_asked=max(row.asked_at for row in rows),
        connectors=tuple(sorted({row.connector for row in rows})),
        examples=tuple(others)[:_MAX_EXAMPLES],
        proposals=tuple(looked_up.proposals) if looked_up else (),
        is_looked_up=looked_up is not None,
        questions=tuple(row.id for row in rows),
    )
