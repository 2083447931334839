"""The benchmark's judge of answers, which has to refuse as well as to accept."""

import pytest

from benchmarks.answering.judge import is_supported, judge
from hub.messages import Source

PAGE = (
    "Museum handbook\nThe museum opens at 9:00 on weekdays. On Sundays it isn't open. Ana Dias leads the tours, which take"
    " 45 minutes.\nimport tours\ntours.book(3)"
)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("On Sundays it isn’t open.", True),
        ("`import tours\n    tours.book(3)`", True),
        ("The tours take 45 minutes and Ana Dias leads them.", True),
        ("On Sundays the museum isn't open.", True),
        ("On Sundays the museum is open.", False),
        ("The museum opens at 10:00 on weekdays.", False),
        ("The museum opens on weekdays at 9:00, Bob says.", False),
        ("The museum is free of charge.", False),
    ],
)
def test_a_sentence_is_supported_by_quotation_or_by_all_it_says(sentence: str, expected: bool) -> None:
    """Numbers, names, negations and other words must stand in two neighbouring sentences."""
    assert is_supported(sentence, PAGE) is expected


def test_each_sentence_is_judged_by_the_source_that_its_mark_names() -> None:
    """What stands behind the last mark has no source, and code may hold what looks like a mark."""
    pages = {"a": "A\nThe shop opens at nine.\nrows[1]", "b": "B\nThe café closes at six."}
    sources = [
        Source(number=number, title=name, location=name, heading="", quote="", score=0.5)
        for number, name in enumerate(pages, 1)
    ]

    judged = judge(
        "The shop opens at nine.\n\n```\nrows [1]\n```\n\n[1] The café closes at six. [1]\n\nThe café closes at six. [2] More.",
        sources,
        pages,
    )

    assert [(one.text.strip("`\n"), one.is_supported) for one in judged] == [
        ("rows [1]", True),
        ("The shop opens at nine.", True),
        ("The café closes at six.", False),
        ("The café closes at six.", True),
        ("More.", False),
    ]
