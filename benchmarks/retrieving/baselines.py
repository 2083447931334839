"""What others do: dense retrieval alone, BM25 alone, and their reciprocal rank fusion, over chunks of 160 words."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.retrieving.corpora import Corpus
from knowledge.embedder import Embedder

CHUNK_WORDS = 160
K1, B = 1.2, 0.75
FUSION_K = 60
"""Source: Cormack, Clarke and Buettcher, "Reciprocal rank fusion outperforms Condorcet", 2009."""

Scores = NDArray[np.float64]
_WORD = re.compile(r"\w+")


def baseline_ranks(
    corpus: Corpus, embedder: Embedder, vectors: NDArray[np.float32]
) -> dict[str, NDArray[np.int64]]:
    """Rank the right section for every question.

    Args:
        vectors: of the questions.

    Returns: places from 1, by the name of the system.
    """
    chunks = [
        (position, " ".join(words[start : start + CHUNK_WORDS]))
        for position, words in enumerate(part.text.split() for part in corpus.parts)
        for start in range(0, len(words), CHUNK_WORDS)
    ]
    owners = np.array([position for position, _ in chunks])
    texts = [text for _, text in chunks]
    dense = np.asarray(vectors @ embedder.encode(texts).T, np.float64)
    words = _bm25([_words(text) for text in texts], [_words(question) for question, _ in corpus.questions])
    fused: Scores = 1 / (FUSION_K + _places(dense)) + 1 / (FUSION_K + _places(words))
    wanted = [position for _, position in corpus.questions]
    systems = {"dense": dense, "BM25": words, "RRF": fused}
    return {name: _ranks(scores, owners, wanted) for name, scores in systems.items()}


def _ranks(scores: Scores, owners: NDArray[np.int64], wanted: Sequence[int]) -> NDArray[np.int64]:
    ranks = []
    for row, position in zip(scores, wanted, strict=True):
        best = np.full(owners.max() + 1, -np.inf)
        np.maximum.at(best, owners, row)
        # Of equals the right one comes last: a score of nothing finds nothing.
        ranks.append(int((best >= best[position]).sum()))
    return np.array(ranks)


def _places(scores: Scores) -> Scores:
    places: Scores = (-scores).argsort(axis=1, kind="stable").argsort(axis=1).astype(np.float64) + 1
    return places


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _bm25(documents: Sequence[list[str]], questions: Sequence[list[str]]) -> Scores:
    lengths = np.array([len(document) for document in documents], np.float64)
    normal: Scores = K1 * (1 - B + B * lengths / lengths.mean())
    postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, document in enumerate(documents):
        for word, times in Counter(document).items():
            postings[word].append((number, times))
    scores = np.zeros((len(questions), len(documents)))
    for row, question in zip(scores, questions, strict=True):
        for word in set(question):
            holding = postings.get(word, [])
            rarity = math.log(1 + (len(documents) - len(holding) + 0.5) / (len(holding) + 0.5))
            for number, times in holding:
                row[number] += rarity * times * (K1 + 1) / (times + normal[number])
    return scores
