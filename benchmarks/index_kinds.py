"""From how many vectors on is HNSW faster than the exact search? The hub's own index of both kinds, side by side.

Milliseconds are of processor time, which other programs on the machine disturb less than they do waiting.

python -m benchmarks.index_kinds             1,000 to 20,000 vectors; about two minutes
python -m benchmarks.index_kinds --short     a quick look
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np

from benchmarks.ingest import DIMENSION, K, made_questions, made_vectors
from knowledge.index.base import Hidden
from knowledge.index.faiss import FLAT_LIMIT, FaissIndex
from knowledge.passages import Vectors
from knowledge.retrieval import POOL, SPARE_HITS

NEAREST = max(POOL, SPARE_HITS * (K + 1))
"""Vectors that a search of the hub asks for."""
SIZES = (1_000, 2_000, 5_000, 10_000, 20_000)
HIDDEN_SHARES = (0.0, 0.1, 0.5, 0.9)
"""Of the vectors, those that whoever asks must not see."""
ROUNDS = 2
SEARCHED = 200
"""Questions of each round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """All questions, searched in one index."""

    p50_ms: float
    p95_ms: float
    found: Sequence[frozenset[int]]


def main() -> None:
    """Measure and print."""
    sizes, rounds = _arguments()
    questions = made_questions()[:SEARCHED]
    # One question is searched for by one thread; others would only wait for it, and that would count.
    faiss.omp_set_num_threads(1)
    print(f"{NEAREST} nearest of vectors of {DIMENSION} numbers; FLAT_LIMIT is {FLAT_LIMIT}")
    print(
        f"{'vectors':>8}{'build s, flat / hnsw':>23}{'hidden':>8}{'flat p50 / p95 ms':>20}{'hnsw':>16}{'recall':>8}"
    )
    for size in sizes:
        _compare(size, questions, rounds)


def _compare(size: int, questions: Vectors, rounds: int) -> None:
    vectors = np.concatenate(list(made_vectors(size, seed=1)))
    flat, flat_s = _built(vectors, flat_limit=size)
    graph, graph_s = _built(vectors, flat_limit=0)
    assert (flat.kind, graph.kind) == ("flat", "hnsw")
    for share in HIDDEN_SHARES:
        hidden = np.random.default_rng(3).random(size) < share if share else None
        exact, near = [], []
        for _ in range(rounds):
            exact.append(_searched(flat, questions, hidden))
            near.append(_searched(graph, questions, hidden))
        one, other = (min(runs, key=lambda run: run.p50_ms) for runs in (exact, near))
        pairs = zip(one.found, other.found, strict=True)
        recall = sum(len(right & got) for right, got in pairs) / sum(map(len, one.found))
        print(
            f"{size:8,}{flat_s:12.2f} / {graph_s:<8.2f}{share:8.0%}{one.p50_ms:11.2f} / {one.p95_ms:<6.2f}"
            f"{other.p50_ms:8.2f} / {other.p95_ms:<6.2f}{recall:7.3f}",
            flush=True,
        )


def _built(vectors: Vectors, *, flat_limit: int) -> tuple[FaissIndex, float]:
    index = FaissIndex(DIMENSION, flat_limit=flat_limit)
    started = time.process_time()
    index.add(np.arange(len(vectors), dtype=np.int64), vectors)
    return index, time.process_time() - started


def _searched(index: FaissIndex, questions: Vectors, hidden: Hidden | None) -> Searched:
    took, found = [], []
    for question in questions:
        started = time.thread_time()
        hits = index.search(question, NEAREST, hidden)
        took.append(1000 * (time.thread_time() - started))
        found.append(frozenset(hit.id for hit in hits))
    p50, p95 = np.quantile(took, (0.5, 0.95))
    return Searched(p50_ms=float(p50), p95_ms=float(p95), found=found)


def _arguments() -> tuple[Sequence[int], int]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="two sizes, one round")
    return ((1_000, 5_000), 1) if parser.parse_args().short else (SIZES, ROUNDS)


if __name__ == "__main__":
    main()
