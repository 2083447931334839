"""Finds chunks by their words: SQLite's FTS5 or PostgreSQL's text search, kept equal to the chunks by triggers.

The database finds candidates; how near each is to the question `knowledge.ranking` weighs, so that both databases
rank alike. Nothing needs to be called when chunks change: the triggers are part of the same transaction.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    column,
    func,
    literal_column,
    select,
    table,
)

from knowledge.tables import ChunkRow, DocumentRow

MAX_TERMS = 24
"""Words of a question that are looked for: of a long text the rarest."""
COMMON_SHARE = 0.3
"""A term in a larger share of all chunks finds nothing in particular; it is left out while there are rarer ones."""
MAX_ENTRIES = 50_000
"""Occurrences that one search may weigh, which takes SQLite about 50 ms; the commonest terms are left out for it."""
MAX_REMEMBERED = 20_000
"""Counts of terms that are remembered, for one version of the documents."""

_FTS5 = table("chunk_words", column("rowid"), column("chunk_words"))
_TSVECTOR = table("chunk_words", column("chunk_id"), column("words"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TermCounts:
    """How common the terms of a question are."""

    chunks: int
    """All chunks there are."""
    with_term: Mapping[str, int]
    """Chunks that hold a term, by its stem."""


class LexicalIndex:
    """The words of all chunks; blocks."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._version = -1
        self._chunks = 0
        self._counts: OrderedDict[str, int] = OrderedDict()

    def count(self, connection: Connection, asked: Mapping[str, str], version: int) -> TermCounts:
        """Count the chunks that hold each of the words; remembered while `version` stays the same.

        Args:
            asked: words by their stems, as `knowledge.terms.question_words` gives them.
        """
        with self._lock:
            if version != self._version:
                self._version, self._counts = version, OrderedDict()
                self._chunks = connection.execute(select(func.count()).select_from(ChunkRow)).scalar_one()
            known = {term: self._counts[term] for term in asked if term in self._counts}
        fresh = {term: _count(connection, word) for term, word in asked.items() if term not in known}
        with self._lock:
            if version == self._version:
                self._counts.update(fresh)
                while len(self._counts) > MAX_REMEMBERED:
                    self._counts.popitem(last=False)
            return TermCounts(chunks=max(1, self._chunks), with_term=known | fresh)

    def search(
        self,
        connection: Connection,
        asked: Mapping[str, str],
        counts: TermCounts,
        k: int,
        *,
        where: Sequence[ColumnElement[bool]] = (),
    ) -> list[int]:
        """Find the chunks that share most with a question.

        Args:
            asked: words by their stems.
            counts: of these words.
            where: conditions on `ChunkRow` and `DocumentRow` that a chunk must fulfil.

        Returns: ids of at most `k` chunks, likeliest first.
        """
        chosen = [asked[term] for term in chosen_terms(asked, counts)]
        if not chosen or k < 1:
            return []
        query = _fts5(chosen) if connection.dialect.name == "sqlite" else _tsvector(chosen)
        if where:
            query = query.join(DocumentRow, DocumentRow.id == ChunkRow.document_id).where(*where)
        return [int(row[0]) for row in connection.execute(query.limit(k))]


def chosen_terms(asked: Iterable[str], counts: TermCounts) -> list[str]:
    """Choose the terms that a search is worth: known ones, the rarest first, without those that stand everywhere."""
    known = sorted(
        (term for term in asked if counts.with_term.get(term)),
        key=lambda term: (counts.with_term[term], term),
    )
    rare = [term for term in known if counts.with_term[term] <= COMMON_SHARE * counts.chunks]
    chosen: list[str] = []
    left = MAX_ENTRIES
    for term in (rare or known)[:MAX_TERMS]:
        left -= counts.with_term[term]
        if chosen and left < 0:
            break
        chosen.append(term)
    return chosen


def _count(connection: Connection, word: str) -> int:
    if connection.dialect.name == "sqlite":
        query = select(func.count()).select_from(_FTS5).where(_matches(_quoted(word)))
    else:
        query = select(func.count()).select_from(_TSVECTOR).where(_asked([word]))
    return int(connection.execute(query).scalar_one())


def _fts5(chosen: Sequence[str]) -> Select[Any]:
    rank: ColumnElement[float] = literal_column("bm25(chunk_words, 2.0, 2.0, 1.0)")
    asked = " OR ".join(_quoted(word) for word in chosen)
    return (
        select(_FTS5.c.rowid)
        .join_from(_FTS5, ChunkRow.__table__, ChunkRow.id == _FTS5.c.rowid)
        .where(_matches(asked))
        .order_by(rank, _FTS5.c.rowid)
    )


def _tsvector(chosen: Sequence[str]) -> Select[Any]:
    rank = func.ts_rank_cd(_TSVECTOR.c.words, _tsquery(chosen), 1)
    return (
        select(_TSVECTOR.c.chunk_id)
        .join_from(_TSVECTOR, ChunkRow.__table__, ChunkRow.id == _TSVECTOR.c.chunk_id)
        .where(_asked(chosen))
        .order_by(rank.desc(), _TSVECTOR.c.chunk_id)
    )


def _matches(asked: str) -> ColumnElement[bool]:
    return literal_column("chunk_words", String).op("MATCH", is_comparison=True)(asked)


def _asked(chosen: Sequence[str]) -> ColumnElement[bool]:
    return _TSVECTOR.c.words.op("@@", is_comparison=True)(_tsquery(chosen))


def _tsquery(chosen: Sequence[str]) -> ColumnElement[Any]:
    quoted = (word.replace("\\", "\\\\").replace("'", "''") for word in chosen)
    return func.to_tsquery("english", " | ".join(f"'{word}'" for word in quoted))


def _quoted(word: str) -> str:
    # Inside of quotation marks FTS5 knows no operators.
    return '"' + word.replace('"', '""') + '"'
