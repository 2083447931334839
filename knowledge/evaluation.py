"""Judges retrieval by labelled questions: recall, mean reciprocal rank and nDCG, over all and for each question."""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from knowledge.passages import Passage
from knowledge.questions import LabelledQuestion, Target

RECALL_AT = (1, 3, 5, 10)
NDCG_AT = 10
DEPTH = 20
"""Passages asked for; a target below counts as not found."""

Search = Callable[[str, int], Awaitable[Sequence[Passage]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPassage:
    """One passage of an answer, as the report shows it."""

    source: str
    heading: str
    score: float
    text: str
    """Its beginning."""
    is_relevant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionReport:
    """What became of one question."""

    question: str
    targets: tuple[str, ...]
    rank: int
    """Place of the first passage that answers it, from 1; 0 when none does."""
    recall: dict[int, float]
    """Share of its targets among the first k passages, by k."""
    reciprocal_rank: float
    ndcg: float
    took_ms: float
    passages: tuple[FoundPassage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What became of all questions; every number but the counts is a mean over them."""

    at: datetime
    name: str
    """Of the file of questions."""
    ranking: str
    """What the order of passages depends on: model, weights, re-ranker."""
    version: int
    """Counter of changes of the knowledge base."""
    chunks: int
    recall: dict[int, float]
    mrr: float
    ndcg: float
    p50_ms: float
    p95_ms: float
    questions: tuple[QuestionReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the knowledge base is, at the time it is judged."""

    at: datetime
    name: str
    ranking: str
    version: int
    chunks: int


async def evaluate(
    search: Search,
    questions: Sequence[LabelledQuestion],
    judged: Judged,
    progress: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Ask every question once, one after the other.

    Args:
        search: gives passages, best first.
        judged: what is known of the knowledge base.
        progress: told how many have been asked.

    Raises: KnowledgeError: the knowledge base cannot be read.
    """
    reports = []
    for question in questions:
        began = time.perf_counter()
        passages = await search(question.question, DEPTH)
        took_ms = (time.perf_counter() - began) * 1000
        reports.append(judge(question, passages, took_ms))
        progress(len(reports))
    times = sorted(report.took_ms for report in reports)
    return Evaluation(
        at=judged.at,
        name=judged.name,
        ranking=judged.ranking,
        version=judged.version,
        chunks=judged.chunks,
        recall={k: _mean([report.recall[k] for report in reports]) for k in RECALL_AT},
        mrr=_mean([report.reciprocal_rank for report in reports]),
        ndcg=_mean([report.ndcg for report in reports]),
        p50_ms=_quantile(times, 0.50),
        p95_ms=_quantile(times, 0.95),
        questions=tuple(reports),
    )


def judge(question: LabelledQuestion, passages: Sequence[Passage], took_ms: float) -> QuestionReport:
    """Compare what was found with what was wanted; each target counts once, where it is met first."""
    places = {target: _first(target, passages) for target in question.relevant}
    found_by = {target: place for target, place in places.items() if place}
    rank = min(found_by.values(), default=0)
    return QuestionReport(
        question=question.question,
        targets=tuple(_shown(target) for target in question.relevant),
        rank=rank,
        recall={
            k: sum(place <= k for place in found_by.values()) / len(question.relevant) for k in RECALL_AT
        },
        reciprocal_rank=1 / rank if rank else 0.0,
        ndcg=_ndcg(found_by, question.relevant),
        took_ms=took_ms,
        passages=tuple(
            FoundPassage(
                source=passage.location,
                heading=passage.heading,
                score=passage.score,
                text=" ".join(passage.text.split())[:240],
                is_relevant=any(_is_met(target, passage) for target in question.relevant),
            )
            for passage in passages[:10]
        ),
    )


def _first(target: Target, passages: Sequence[Passage]) -> int:
    places = (place for place, passage in enumerate(passages, start=1) if _is_met(target, passage))
    return next(places, 0)


def _is_met(target: Target, passage: Passage) -> bool:
    location = passage.location
    if location != target.source and not location.endswith("/" + target.source):
        return False
    steps = (
        step.casefold() for step in (passage.heading.split(" > ") if passage.heading else [passage.title])
    )
    return not target.heading or target.heading.casefold() in steps


def _ndcg(found_by: dict[Target, int], targets: Sequence[Target]) -> float:
    """Give the discounted cumulative gain of the first NDCG_AT places over the best that could be.

    Source: Jarvelin and Kekalainen, "Cumulated gain-based evaluation of IR techniques", 2002, with gain 2^grade - 1.
    """
    gain: float = sum(
        (2**target.grade - 1) / math.log2(place + 1) for target, place in found_by.items() if place <= NDCG_AT
    )
    best_grades = sorted((target.grade for target in targets), reverse=True)[:NDCG_AT]
    best: float = sum(
        (2**grade - 1) / math.log2(place + 1) for place, grade in enumerate(best_grades, start=1)
    )
    # One passage may meet several targets at once, which is better than the best order of single ones.
    return min(1.0, gain / best)


def _shown(target: Target) -> str:
    return f"{target.source}#{target.heading}" if target.heading else target.source


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
