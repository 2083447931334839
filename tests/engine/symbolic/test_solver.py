"""What is computed is right, and what is no calculation is left alone."""

import pytest

from engine.symbolic import Computed, compute
from tests.cost import times_as_long
from tests.engine.symbolic.questions import NOW, ORDINARY, WRITTEN, made

COMPUTED = [(question, result) for question, result in WRITTEN if result is not None]
QUESTIONS = COMPUTED + made(100)


def test_two_hundred_questions_have_the_right_result() -> None:
    """More than half of them written down, the others made from a seed and computed another way."""
    wrong = []
    for question, result in QUESTIONS:
        computed = compute(question, NOW)
        if computed is None or not _holds(computed, result):
            wrong.append((question, result, computed))

    assert len(QUESTIONS) >= 200
    assert wrong == []


def _holds(computed: Computed, result: str) -> bool:
    """Whether the result is this; of a date the weekday may stand with it."""
    return (
        computed.result == result
        or (not result[0].isdigit() and result in computed.result.split(", "))
        or computed.result.endswith(f", {result}")
    )


def test_ordinary_questions_are_left_alone() -> None:
    """Numbers, dates, versions and scores are not calculations, and nothing that may mean two things is guessed."""
    mistaken = [(question, found) for question in ORDINARY if (found := compute(question, NOW))]
    mistaken += [
        (question, found)
        for question, result in WRITTEN
        if result is None and (found := compute(question, NOW))
    ]

    assert len(ORDINARY) >= 100
    assert mistaken == []


@pytest.mark.parametrize(
    ("question", "language", "sentence"),
    [
        ("1.234 + 1", "", None),
        ("1.234 + 1", "de", "1234 + 1 = 1235."),
        ("1.234 + 1", "en", "1.234 + 1 = 2.234."),
        ("1,5 + 1", "fr", "1,5 + 1 = 2,5."),
        ("1 234,5 + 1", "fr", None),
        ("1\u202f234,5 + 1", "fr", "1234,5 + 1 = 1235,5."),
        ("1'234.5 + 1", "de-CH", "1234.5 + 1 = 1235.5."),
        ("1,234,567 + 1", "", "1234567 + 1 = 1234568."),
        ("1.234.567,5 + 1", "", "1234567.5 + 1 = 1234568.5."),
        ("1,23,456 + 1", "en", None),
        ("12 + 1", "no language", "12 + 1 = 13."),
    ],
)
def test_numbers_are_read_as_their_language_writes_them(
    question: str, language: str, sentence: str | None
) -> None:
    """The same digits are two numbers in two languages; where neither is known they are none."""
    found = compute(question, NOW, language)

    assert (found.sentence if found else None) == sentence


@pytest.mark.parametrize(
    "question",
    [
        "What is " + "9" * 29 + " ** 999?",
        "What is " + "(" * 120 + "1+1" + ")" * 120 + "?",
        "What is " + "1+" * 140 + "1?",
        "What is 2**256**256?",
        "What is 9**99999999999?",
        "What is " + "1 " * 140 + "?",
        "How many days between " + "1 March " * 30 + "?",
        "convert " + "5 km and " * 30 + "to miles",
        "What is 5 feet" + " 5 feet" * 35 + " in cm?",
        "time in " + "a" * 290,
        "what " * 60,
        "please " * 42,
        "1" * 300,
        "1 + 1" + " " * 1000,
    ],
)
def test_no_question_takes_long(question: str) -> None:
    """Limits hold the numbers and the patterns: none takes a hundred times as long as an ordinary one."""
    ordinary = "How many days between 1 March and 24 December?"

    assert times_as_long(lambda: compute(question, NOW), lambda: compute(ordinary, NOW)) < 100


@pytest.mark.parametrize(
    ("answer", "is_told"),
    [
        ("12 × 7 is 84.", True),
        ("84", True),
        ("The answer is 84.", True),
        ("The result is 84", True),
        ("84 is the result of 12 × 7.", False),
        ("12 × 7 = 86.", False),
        ("12 × 7 = 84, and 84 + 1 = 85.", False),
        ("It is not 84.", False),
        ("7 × 84 = 12.", False),
        ("84 bananas", False),
        ("840", False),
        ("8.84", False),
        ("", False),
    ],
)
def test_an_answer_is_compared_with_the_result(answer: str, is_told: bool) -> None:
    """No other number, no other order, no denial, nothing of its own."""
    computed = Computed(sentence="12 × 7 = 84.", result="84")

    assert computed.is_told_by(answer, "What is 12 × 7?") is is_told


@pytest.mark.parametrize(
    ("question", "answer", "is_told"),
    [
        ("What is 5 km in miles?", "5 kilometres is 3.106856 miles.", True),
        ("What is 5 km in miles?", "5 km is 3.106856 km.", False),
        ("What is 5 km in miles?", "5 miles are 3.106856 kilometres.", False),
        ("What is 20% of $50?", "20% of $50 is $10.", True),
        ("What is 20% of $50?", "20% of $50 is 10.", True),
        ("What is 20% of $50?", "20% of $50 is 10%.", False),
        ("What percent of 80 is 20?", "20 is 25% of 80.", False),
        ("What percent of 80 is 20?", "25%", True),
        ("What percent of 80 is 20?", "$25", False),
    ],
)
def test_an_answer_has_to_tell_the_unit(question: str, answer: str, is_told: bool) -> None:
    """The right number of something else is a wrong answer."""
    computed = compute(question, NOW)

    assert computed
    assert computed.is_told_by(answer, question) is is_told
