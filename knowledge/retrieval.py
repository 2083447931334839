"""From a question and its vector to passages: candidates by meaning and by words, weighed together, the best sorted anew."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from sqlalchemy import Connection, Engine, select

from knowledge.audience import ANYONE, Reader
from knowledge.index.keeper import IndexKeeper
from knowledge.lexical import LexicalIndex, TermCounts
from knowledge.passages import Passage, Vectors
from knowledge.ranking import WEIGHTS, Candidate, Measures, Weights, measures, weighed
from knowledge.reranker import Reranker
from knowledge.tables import ChunkRow, CollectionRow, DocumentRow
from knowledge.terms import question_words
from knowledge.visibility import Visibility, may_be_read_by

log = structlog.get_logger(__name__)

NEAR_DUPLICATE = 0.97
"""Passages whose embeddings are this similar say the same."""
NEIGHBOURS = 3
"""Chunks before and after one that belong to it, as far as they stand under the same heading."""
POOL = 60
"""Candidates taken by meaning, and as many by words."""
SPARE_HITS = 4
"""Candidates looked at for each passage wanted, because near duplicates are dropped."""
MAX_POOL = 1_000
"""Candidates looked at for one question at most."""
Rows = dict[int, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """What the order of passages depends on beside the documents."""

    weights: Weights = WEIGHTS
    reranker: Reranker | None = None
    rerank_passages: int = 20


class Finder:
    """Finds passages; blocks."""

    def __init__(
        self, engine: Engine, keeper: IndexKeeper, visibility: Visibility, ordering: Ordering
    ) -> None:
        self._engine = engine
        self._keeper = keeper
        self._visibility = visibility
        self._ordering = ordering
        self._lexical = LexicalIndex()

    def find(self, question: str, vector: Vectors, k: int, reader: Reader = ANYONE) -> list[Passage]:
        """Find the passages nearest to a question that its reader may see; near duplicates are shown once.

        Args:
            vector: the question's, of length 1.

        Returns: at most `k` passages, best first.
        Raises: KnowledgeError: the index or the re-ranker cannot be used.
        """
        wanted = max(k, self._ordering.rerank_passages) if self._ordering.reranker else k
        pool = max(POOL, SPARE_HITS * (k + 1))
        while True:
            candidates, found = self.measured(question, vector, pool, reader)
            order = np.argsort(-weighed(found, self._ordering.weights), kind="stable")
            best = _distinct([candidates[place] for place in order], wanted)
            # Only a document that repeats itself many times makes a wider search necessary.
            if len(best) >= k or pool >= min(MAX_POOL, self._keeper.size):
                break
            pool *= 4
        return [_passage(candidate, vector) for candidate in self._sorted_anew(question, best)[:k]]

    def measured(
        self, question: str, vector: Vectors, pool: int, reader: Reader = ANYONE
    ) -> tuple[list[Candidate], Measures]:
        """Take candidates, `pool` by meaning and as many by words, and measure them against the question.

        Returns: the candidates in no order, and what `knowledge.ranking.measures` tells of them.
        """
        asked = question_words(question)
        with self._engine.connect() as connection:
            counts = self._lexical.count(connection, asked, self._keeper.version)
            candidates = self._candidates(connection, asked, counts, vector, pool, reader)
        return candidates, measures(list(asked), counts, vector, candidates)

    def _candidates(
        self,
        connection: Connection,
        asked: Mapping[str, str],
        counts: TermCounts,
        vector: Vectors,
        pool: int,
        reader: Reader,
    ) -> list[Candidate]:
        hidden = self._visibility.hidden_from(reader)
        ids = [hit.id for hit in self._keeper.search(vector, pool, hidden)]
        where = (ChunkRow.embedding_model == self._keeper.model, may_be_read_by(reader))
        ids += self._lexical.search(connection, asked, counts, pool, where=where)
        rows = self._rows(connection, ids, reader)
        return _with_neighbours(dict.fromkeys(ids), rows, len(vector))

    def _rows(
        self,
        connection: Connection,
        ids: Sequence[int],
        reader: Reader,
    ) -> Rows:
        """Read chunks with those beside them; a document's chunks have followed each other into the database."""
        wanted = {number + step for number in ids for step in range(-NEIGHBOURS, NEIGHBOURS + 1)}
        columns = (ChunkRow.id, ChunkRow.document_id, ChunkRow.ordinal, ChunkRow.heading, ChunkRow.text)
        chunks = select(*columns, ChunkRow.embedding).where(
            ChunkRow.id.in_(wanted), ChunkRow.embedding_model == self._keeper.model
        )
        # The limit takes nothing away: without it SQLite begins with the collections and walks through all documents.
        chunk = chunks.limit(len(wanted)).subquery()
        document = (DocumentRow.title, DocumentRow.location, DocumentRow.version, CollectionRow.audience)
        query = select(chunk, *document).join(DocumentRow, DocumentRow.id == chunk.c.document_id)
        query = query.join(CollectionRow, CollectionRow.name == DocumentRow.collection)
        # The condition once more: what has changed since the index was refreshed is not shown.
        rows = connection.execute(query.where(may_be_read_by(reader))).all()
        if withheld := [row.id for row in rows if not reader.may_read(row.audience)]:
            # The query gives none of these; a passage for others must not depend on one line of code.
            log.error("passages_withheld", chunks=withheld)
        return {row.id: row for row in rows if reader.may_read(row.audience)}

    def _sorted_anew(self, question: str, best: list[Candidate]) -> list[Candidate]:
        reranker = self._ordering.reranker
        if reranker is None or len(best) < 2:
            return best
        read, rest = best[: self._ordering.rerank_passages], best[self._ordering.rerank_passages :]
        scores = reranker.scores(question, [_as_read(candidate) for candidate in read])
        order = sorted(range(len(read)), key=lambda place: -scores[place])
        return [read[place] for place in order] + rest


def _with_neighbours(ids: Iterable[int], rows: Rows, dimension: int) -> list[Candidate]:
    # A damaged row in the database is no candidate; the keeper has told of it.
    whole = {number: row for number, row in rows.items() if len(row.embedding) == 4 * dimension}
    vectors = {number: np.frombuffer(row.embedding, "<f4") for number, row in whole.items()}
    candidates = []
    for number in ids:
        row = whole.get(number)
        if row is None:
            continue
        section = [
            other
            for other in range(number - NEIGHBOURS, number + NEIGHBOURS + 1)
            if other in whole and _are_neighbours(row, whole[other])
        ]
        around = np.sum([vectors[other] for other in section], axis=0)
        candidates.append(
            Candidate(
                id=row.id,
                title=row.title,
                location=row.location,
                heading=row.heading,
                text=row.text,
                version=row.version,
                audience=row.audience,
                embedding=vectors[number],
                around=around / max(float(np.linalg.norm(around)), 1e-6),
                texts=tuple(whole[other].text for other in section),
            )
        )
    return candidates


def _are_neighbours(one: Any, other: Any) -> bool:
    is_same_section: bool = one.document_id == other.document_id and one.heading == other.heading
    is_near: bool = abs(one.ordinal - other.ordinal) <= NEIGHBOURS
    return is_same_section and is_near


def _distinct(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    kept: list[Candidate] = []
    for candidate in candidates:
        if len(kept) == count:
            break
        if all(float(candidate.embedding @ other.embedding) <= NEAR_DUPLICATE for other in kept):
            kept.append(candidate)
    return kept


def _as_read(candidate: Candidate) -> str:
    above = " > ".join(part for part in (candidate.title, candidate.heading) if part)
    return f"{above}\n{candidate.text}"


def _passage(candidate: Candidate, vector: Vectors) -> Passage:
    return Passage(
        chunk_id=candidate.id,
        title=candidate.title,
        location=candidate.location,
        heading=candidate.heading,
        text=candidate.text,
        version=candidate.version,
        audience=candidate.audience,
        score=min(1.0, max(-1.0, float(candidate.embedding @ vector))),
    )
