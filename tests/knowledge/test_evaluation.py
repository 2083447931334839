"""The numbers of an evaluation, and its page."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from knowledge.evaluation import Evaluation, Judged, evaluate, judge
from knowledge.evaluation_page import evaluation_page
from knowledge.passages import Passage
from knowledge.questions import LabelledQuestion

JUDGED = Judged(at=datetime(2026, 1, 2, tzinfo=UTC), name="q.jsonl", ranking="model", version=3, chunks=9)


def passage(location: str, heading: str = "", text: str = "text") -> Passage:
    """Make a passage."""
    return Passage(
        chunk_id=1, title="T", location=location, heading=heading, text=text, version="v", score=0.5
    )


def labelled(*relevant: object, question: str = "q?") -> LabelledQuestion:
    """Make a labelled question."""
    return LabelledQuestion.model_validate({"question": question, "relevant": relevant})


def test_first_place_is_perfect() -> None:
    """One target, found at once."""
    report = judge(labelled("a.md"), [passage("docs/a.md"), passage("b.md")], 1.0)

    assert (report.rank, report.reciprocal_rank, report.ndcg) == (1, 1.0, 1.0)
    assert report.recall == {1: 1.0, 3: 1.0, 5: 1.0, 10: 1.0}


def test_later_place_counts_less() -> None:
    """Third of three: recall from 3 on, a third, and the discount of the third place."""
    report = judge(labelled("c.md"), [passage("a.md"), passage("xc.md"), passage("c.md")], 1.0)

    assert report.rank == 3
    assert report.recall == {1: 0.0, 3: 1.0, 5: 1.0, 10: 1.0}
    assert report.reciprocal_rank == pytest.approx(1 / 3)
    assert report.ndcg == pytest.approx(1 / math.log2(4))


def test_missing_target_is_zero() -> None:
    """Never found."""
    report = judge(labelled("z.md"), [passage("a.md")], 1.0)

    assert (report.rank, report.reciprocal_rank, report.ndcg, report.recall[10]) == (0, 0.0, 0.0, 0.0)


def test_heading_narrows_a_target_down() -> None:
    """Any heading above the passage will do, in any case; another section will not."""
    found = [passage("a.md", "Prices > Adults"), passage("a.md", "Hours > Summer")]

    assert judge(labelled("a.md#summer"), found, 1.0).rank == 2
    assert judge(labelled("a.md#Hours"), found, 1.0).rank == 2
    assert judge(labelled("a.md#Winter"), found, 1.0).rank == 0


def test_each_target_counts_once() -> None:
    """Two passages of one target are one hit, and grades weigh the order."""
    question = labelled({"source": "a.md", "grade": 2}, {"source": "b.md", "grade": 1})

    report = judge(question, [passage("b.md"), passage("b.md", "More"), passage("a.md")], 1.0)

    assert report.recall == {1: 0.5, 3: 1.0, 5: 1.0, 10: 1.0}
    assert report.ndcg == pytest.approx((1 / 1 + 3 / math.log2(4)) / (3 / 1 + 1 / math.log2(3)))


async def evaluated(*pairs: tuple[str, str]) -> Evaluation:
    """Evaluate a search that always finds a.md, then b.md."""

    async def search(question: str, k: int) -> Sequence[Passage]:
        return [passage("a.md", text="<script>alert(1)</script>"), passage("b.md")][:k]

    questions = [labelled(target, question=question) for question, target in pairs]
    return await evaluate(search, questions, JUDGED)


async def test_numbers_are_means_over_questions() -> None:
    """One at the first place, one at the second, one nowhere."""
    evaluation = await evaluated(("one", "a.md"), ("two", "b.md"), ("three", "c.md"))

    assert evaluation.recall[1] == pytest.approx(1 / 3)
    assert evaluation.recall[3] == pytest.approx(2 / 3)
    assert evaluation.mrr == pytest.approx((1 + 1 / 2) / 3)
    assert evaluation.ndcg == pytest.approx((1 + 1 / math.log2(3)) / 3)
    assert evaluation.p95_ms >= evaluation.p50_ms > 0


async def test_progress_is_told() -> None:
    """After each question."""
    told: list[int] = []

    async def search(question: str, k: int) -> Sequence[Passage]:
        return []

    await evaluate(search, [labelled("a.md")] * 3, JUDGED, told.append)

    assert told == [1, 2, 3]


async def test_page_needs_nothing_from_elsewhere() -> None:
    """No scripts, no addresses; what documents and questions say is text."""
    page = evaluation_page(await evaluated(("<b>one</b>", "a.md"), ("two", "c.md")))

    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;one&lt;/b&gt;" in page
    assert not re.search(r"""(?:src|href)\s*=|url\(|https?://|@import""", page)
    assert page.count("<svg") == 3


async def test_page_shows_the_worst_first() -> None:
    """A question that found nothing stands above one that did."""
    page = evaluation_page(await evaluated(("found", "a.md"), ("lost", "c.md")))

    assert page.index("</span> lost") < page.index("</span> found")
    assert "0.500" in page
