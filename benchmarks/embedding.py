"""How fast the embedding model is on a processor, and how well it still finds.

One process, all sides in turns: sentence-transformers with numbers of 32 and of 16 bits (bfloat16) and with PyTorch's own
dynamic whole numbers of 8 bits, and the hub's embedder on ONNX Runtime. Then the right sections of installed documentation are looked
for by nothing but the nearest vector.

    python -m benchmarks.embedding           # some minutes
    python -m benchmarks.embedding --short   # the three smallest corpora
"""

import argparse
import copy
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

# Before PyTorch is imported: cores that wait shall sleep, as they do in the hub.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.retrieving.baselines import baseline_ranks
from benchmarks.retrieving.corpora import SOURCES, Corpus, load
from hub.settings import KnowledgeSettings
from knowledge.embedder import BATCH, Embedder
from knowledge.imports import import_sentence_transformers
from knowledge.passages import Vectors
from knowledge.precomputed import bundled_texts

PASSAGES = 64
QUESTION = "how do I bring back a branch that was deleted"
ASKED = 5
"""Times that the question is asked in a round."""

Encode = Callable[[Sequence[str]], Vectors]


@dataclass(slots=True, kw_only=True)
class Side:
    """One of what is compared, on a number of cores."""

    name: str
    cores: int
    encode: Encode
    passage_ms: list[float] = field(default_factory=list)
    passage_cpu_ms: list[float] = field(default_factory=list)
    question_ms: list[float] = field(default_factory=list)
    question_cpu_ms: list[float] = field(default_factory=list)

    def measure(self, texts: Sequence[str]) -> None:
        """Embed the passages in batches, and a question alone."""
        wall_ms, cpu_ms = _timed(lambda: _in_batches(self.encode, texts))
        self.passage_ms.append(wall_ms / len(texts))
        self.passage_cpu_ms.append(cpu_ms / len(texts))
        for _ in range(ASKED):
            wall_ms, cpu_ms = _timed(lambda: self.encode([QUESTION]))
            self.question_ms.append(wall_ms)
            self.question_cpu_ms.append(cpu_ms)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--short", action="store_true", help="the three smallest corpora")
    chosen = parser.parse_args()
    hubs = {cores: Embedder(KnowledgeSettings(embedding_runtime="onnx"), threads=cores) for cores in (1, 2)}
    plain = Embedder(KnowledgeSettings(embedding_runtime="torch"), threads=0)
    try:
        _print_speed(_sides(plain, hubs), _passages(plain), chosen.rounds)
        corpora = sorted(filter(None, map(load, SOURCES)), key=lambda corpus: len(corpus.parts))
        _print_quality(corpora[:3] if chosen.short else corpora, plain, hubs[2])
    finally:
        for embedder in (plain, *hubs.values()):
            embedder.close()


def _passages(embedder: Embedder) -> list[str]:
    """Give passages of the project's own documents, longest first as the embedder sorts them."""
    texts = [
        chunk.text
        for chunk in bundled_texts(embedder, KnowledgeSettings()).values()
        if 40 <= embedder.count_tokens([chunk.text]) <= 220
    ]
    taken = texts[:: max(1, len(texts) // PASSAGES)][:PASSAGES]
    print(
        f"{len(taken)} passages of {embedder.count_tokens(taken) / len(taken):.0f} tokens at the mean, batches of {BATCH}"
    )
    return sorted(taken, key=len, reverse=True)


def _sides(plain: Embedder, hubs: dict[int, Embedder]) -> list[Side]:
    model = import_sentence_transformers()(str(plain.folder), device="cpu", local_files_only=True).eval()
    with warnings.catch_warnings():
        # It has a successor in a package of its own that is not installed.
        warnings.simplefilter("ignore")
        whole = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
            copy.deepcopy(model), {torch.nn.Linear}, dtype=torch.qint8
        )
    models = {
        "sentence-transformers": model,
        "the same, bfloat16": copy.deepcopy(model).bfloat16(),
        "the same, dynamic int8 of PyTorch": whole,
    }

    def of_torch(model: torch.nn.Module, cores: int) -> Encode:
        def encode(texts: Sequence[str]) -> Vectors:
            torch.set_num_threads(cores)
            given = model.encode(  # type: ignore[operator]
                list(texts), batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
            )
            return np.asarray(given, np.float32)

        return encode

    sides = []
    for cores, hub in hubs.items():
        sides += [
            Side(name=name, cores=cores, encode=of_torch(model, cores)) for name, model in models.items()
        ]
        sides.append(Side(name="hub, ONNX Runtime", cores=cores, encode=hub.encode))
    return sides


def _print_speed(sides: Sequence[Side], texts: Sequence[str], rounds: int) -> None:
    exact = _in_batches(sides[0].encode, texts)
    cosines = {}
    for side in sides:
        given = _in_batches(side.encode, texts)
        cosines[side.name] = (given * exact).sum(axis=1) / np.linalg.norm(given, axis=1)
        side.encode([QUESTION])
    for _ in range(rounds):
        for side in sides:
            side.measure(texts)
    print("\n| cores | side | ms of a passage | CPU | against | ms of a question | CPU | against |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    for side in sides:
        base = next(other for other in sides if other.cores == side.cores)
        print(
            f"| {side.cores} | {side.name} | {np.median(side.passage_ms):.1f} | {np.median(side.passage_cpu_ms):.1f} "
            f"| {_times(base.passage_ms, side.passage_ms)}, CPU {_times(base.passage_cpu_ms, side.passage_cpu_ms)} "
            f"| {np.median(side.question_ms):.1f} | {np.median(side.question_cpu_ms):.1f} "
            f"| {_times(base.question_ms, side.question_ms)}, CPU {_times(base.question_cpu_ms, side.question_cpu_ms)} |"
        )
    print("\nCosine to the vectors of sentence-transformers:")
    for name, cosine in cosines.items():
        print(f"  {name:<34} {cosine.mean():.4f} at the mean, {cosine.min():.4f} at the least")


def _print_quality(corpora: Sequence[Corpus], plain: Embedder, hub: Embedder) -> None:
    print("\n| corpus | questions | 32 bits R@1 | R@5 | MRR | 8 bits R@1 | R@5 | MRR |")
    print("|---|---:|" + "---:|" * 6)
    rows = []
    for corpus in corpora:
        row = np.concatenate([_found(corpus, embedder) for embedder in (plain, hub)])
        rows.append(row)
        print(
            f"| {corpus.name} | {len(corpus.questions)} | {' | '.join(f'{value:.3f}' for value in row)} |",
            flush=True,
        )
    if rows:
        print(f"| mean | | {' | '.join(f'{value:.3f}' for value in np.mean(rows, axis=0))} |")


def _found(corpus: Corpus, embedder: Embedder) -> NDArray[np.float64]:
    questions = embedder.encode([question for question, _ in corpus.questions])
    ranks = baseline_ranks(corpus, embedder, questions)["dense"]
    return np.array([np.mean(ranks == 1), np.mean(ranks <= 5), np.mean(1 / ranks)])


def _in_batches(encode: Encode, texts: Sequence[str]) -> Vectors:
    return np.concatenate([encode(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)])


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def _times(base: Sequence[float], own: Sequence[float]) -> str:
    """How many times faster: the median of what each round says, as the machine is another in every one."""
    return f"{np.median(np.array(base) / np.array(own)):.2f}x"


if __name__ == "__main__":
    main()
