"""Weighs how near chunks are to a question: by meaning, and by the words they share with it.

Adding ranks up (reciprocal rank fusion) lets a poor list spoil a good one. Here every measure is a number between 0 and
1 that means the same for all questions, so that words move the order only as far as they tell something.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from knowledge.audience import PUBLIC
from knowledge.lexical import TermCounts
from knowledge.passages import Vectors
from knowledge.terms import terms

Measures = NDArray[np.float64]

SATURATION = 2.0
"""How soon repeating a word stops counting. Source: Robertson and Zaragoza, "The probabilistic relevance framework", 2009."""
LENGTH_SHARE = 0.75
"""How much a word counts less in a longer text. Source: as above."""
USUAL_TERMS = 120
"""Terms of a usual chunk with its neighbours."""
MAX_REMEMBERED = 4_096
"""Texts whose terms are remembered: about 10 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What each measure counts, beside the cosine, which counts 1.

    Chosen by the mean reciprocal rank over the documentation of eleven programs; `benchmarks.retrieval` judges each of
    these by weights that were chosen by the other ten.
    """

    around: float = 1.0
    """Of the cosine of the chunk together with its neighbours of the same section."""
    words: float = 0.5
    """Of the words that these, and their heading, share with the question."""


WEIGHTS = Weights()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A chunk that may answer a question."""

    id: int
    title: str
    location: str
    heading: str
    text: str
    version: str
    audience: str = PUBLIC
    embedding: Vectors = field(repr=False)
    around: Vectors = field(repr=False)
    """Mean embedding of the chunk and its neighbours of the same section, of length 1."""
    texts: tuple[str, ...] = field(repr=False)
    """Texts of the chunk and these neighbours."""


def measures(
    question_terms: Sequence[str],
    counts: TermCounts,
    question_vector: Vectors,
    candidates: Sequence[Candidate],
) -> Measures:
    """Measure candidates against a question.

    Args:
        question_terms: as `knowledge.terms.terms` gives them.
        counts: of these terms.

    Returns: shape (len(candidates), 3): the cosines of chunk and neighbourhood, -1 to 1, and the share of words, 0 to 1.
    """
    rarities = {term: rarity(counts, term) for term in set(question_terms)}
    found = np.zeros((len(candidates), 3))
    for row, candidate in zip(found, candidates, strict=True):
        row[0] = float(candidate.embedding @ question_vector)
        row[1] = float(candidate.around @ question_vector)
        own_heading = candidate.heading.rpartition(" > ")[2] or candidate.title
        row[2] = shared(rarities, [_terms(own_heading), *map(_terms, candidate.texts)])
    return found


def weighed(found: Measures, weights: Weights = WEIGHTS) -> Measures:
    """Add the measures up.

    Returns: shape (len(found),); a higher number is nearer.
    """
    scores: Measures = found @ np.array([1.0, weights.around, weights.words])
    return scores


def rarity(counts: TermCounts, term: str) -> float:
    """Tell how much it says that a chunk holds a term: the inverse document frequency of BM25, never negative."""
    holding = counts.with_term.get(term, 0)
    return math.log(1 + (counts.chunks - holding + 0.5) / (holding + 0.5))


def shared(rarities: Mapping[str, float], texts: Sequence[Mapping[str, int]]) -> float:
    """Give BM25's score as a share of what it would be at most: 0 for no common word, near 1 for all, often.

    Args:
        rarities: of the question's terms.
        texts: how often each term occurs, in pieces that are read as one text.
    """
    most = sum(rarities.values())
    if not most:
        return 0.0
    normal = 1 - LENGTH_SHARE + LENGTH_SHARE * sum(text[""] for text in texts) / USUAL_TERMS
    score = 0.0
    for term, weight in rarities.items():
        times = sum(text.get(term, 0) for text in texts)
        score += weight * times / (times + SATURATION * normal)
    return score / most


@lru_cache(maxsize=MAX_REMEMBERED)
def _terms(text: str) -> Mapping[str, int]:
    """Count the terms of a text; under the empty one stands how many there are."""
    found = terms(text)
    return {**Counter(found), "": len(found)}
