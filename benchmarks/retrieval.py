"""Does the hub find the right section? Headings of installed documentation are the questions.

Dense retrieval alone, BM25 alone, their reciprocal rank fusion, and the hub's own weighing, all with the same embedding
model. What the hub weighs with is chosen anew for each corpus by all the other corpora: no number of its column is of a
corpus that it was tuned on.

    apt-get install python3.11-doc perl-doc debian-faq git-doc ...   # `--list` names all; what is missing is left out
    python -m benchmarks.retrieval
"""

import argparse
import itertools
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.retrieving.baselines import baseline_ranks
from benchmarks.retrieving.corpora import SOURCES, Corpus, load
from benchmarks.retrieving.ours import Searched, search
from hub.settings import KnowledgeSettings
from knowledge.embedder import Embedder
from knowledge.ranking import WEIGHTS, Weights

GRID = [
    Weights(around=around, words=words)
    for around, words in itertools.product(
        (0.0, 0.25, 0.5, 1.0, 2.0), (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
    )
]

Ranks = NDArray[np.int64]


def main() -> None:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--list", action="store_true", help="name the packages and where their pages are looked for"
    )
    parser.add_argument("--short", action="store_true", help="the three smallest corpora")
    chosen = parser.parse_args()
    if chosen.list:
        for source in SOURCES:
            print(f"{source.name:<18} {source.package:<22} /{source.pattern}")
        return
    corpora = [corpus for source in SOURCES if (corpus := load(source))]
    if chosen.short:
        corpora = sorted(corpora, key=lambda corpus: len(corpus.parts))[:3]
    if len(corpora) < 2:
        sys.exit("Fewer than two corpora are installed; `--list` names their packages.")
    missing = [source.package for source in SOURCES if load(source) is None]
    if missing:
        print(f"Left out, not installed: {' '.join(missing)}\n")
    baselines, found = _measure(corpora)
    folds = {corpus.name: _chosen(found, without=corpus.name) for corpus in corpora}
    _print_table(corpora, baselines, found, folds)
    _print_folds(folds)
    _print_shipped(found)
    times = [took for searched in found.values() for took in searched.took_ms]
    print(
        f"\nA search takes {np.median(times):.1f} ms at the median, {np.quantile(times, 0.95):.1f} ms at p95,"
    )
    print("beside the embedding of its question.")


def _measure(corpora: Sequence[Corpus]) -> tuple[dict[str, dict[str, Ranks]], dict[str, Searched]]:
    baselines, found = {}, {}
    embedder = Embedder(KnowledgeSettings(), threads=0)
    try:
        for corpus in corpora:
            vectors = embedder.encode([question for question, _ in corpus.questions])
            baselines[corpus.name] = baseline_ranks(corpus, embedder, vectors)
            with tempfile.TemporaryDirectory() as folder:
                found[corpus.name] = search(corpus, embedder, vectors, Path(folder))
            print(
                f"  {corpus.name}: {len(corpus.questions)} questions, {len(corpus.parts)} sections",
                flush=True,
            )
    finally:
        embedder.close()
    return baselines, found


def _chosen(found: Mapping[str, Searched], *, without: str) -> Weights:
    """Choose the weights of the best mean reciprocal rank over all questions but those of one corpus."""
    others = [searched for name, searched in found.items() if name != without]
    return max(GRID, key=lambda weights: _mrr(np.concatenate([one.ranks(weights) for one in others])))


def _mrr(ranks: Ranks) -> float:
    return float(np.mean(1 / ranks))


def _numbers(ranks: Ranks) -> str:
    return f"{np.mean(ranks == 1):.3f} | {np.mean(ranks <= 5):.3f} | {_mrr(ranks):.3f}"


def _print_table(
    corpora: Sequence[Corpus],
    baselines: Mapping[str, Mapping[str, Ranks]],
    found: Mapping[str, Searched],
    folds: Mapping[str, Weights],
) -> None:
    systems = ("dense", "BM25", "RRF", "hub")
    print("\n| corpus | questions | " + " | ".join(f"{name} R@1 | R@5 | MRR" for name in systems) + " |")
    print("|---|---:|" + "---:|" * (3 * len(systems)))
    ranks = {
        corpus.name: {**baselines[corpus.name], "hub": found[corpus.name].ranks(folds[corpus.name])}
        for corpus in corpora
    }
    for corpus in corpora:
        row = " | ".join(_numbers(ranks[corpus.name][name]) for name in systems)
        print(f"| {corpus.name} | {len(corpus.questions)} | {row} |")
    means = []
    for name in systems:
        own = [ranks[corpus.name][name] for corpus in corpora]
        at = [np.mean([np.mean(one <= k) for one in own]) for k in (1, 5)]
        means.append(f"{at[0]:.3f} | {at[1]:.3f} | {np.mean([_mrr(one) for one in own]):.3f}")
    print(f"| mean of the corpora | | {' | '.join(means)} |")
    every = [_numbers(np.concatenate([ranks[corpus.name][name] for corpus in corpora])) for name in systems]
    print(f"| all questions | {sum(len(corpus.questions) for corpus in corpora)} | {' | '.join(every)} |")
    _print_sign_test(ranks)


def _print_sign_test(ranks: Mapping[str, Mapping[str, Ranks]]) -> None:
    """Tell how likely chance alone finds as many more at the first place, by an exact two-sided sign test."""
    hub, dense = (np.concatenate([ranks[name][system] == 1 for name in ranks]) for system in ("hub", "dense"))
    better, worse = int((hub & ~dense).sum()), int((dense & ~hub).sum())
    total = better + worse
    tail = sum(math.comb(total, k) for k in range(max(better, worse), total + 1)) / 2**total
    print(
        f"\nAt the first place by the hub alone {better}, by dense alone {worse}: p = {min(1.0, 2 * tail):.4f}."
    )


def _print_folds(folds: Mapping[str, Weights]) -> None:
    print("\nWeights chosen by the other corpora:")
    for name, weights in folds.items():
        print(f"  {name:<18} {weights}")


def _print_shipped(found: Mapping[str, Searched]) -> None:
    print(f"\nThe hub as it comes, {WEIGHTS}:")
    for name, searched in found.items():
        print(f"  {name:<18} {_numbers(searched.ranks(WEIGHTS))}")


if __name__ == "__main__":
    main()
