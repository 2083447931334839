"""Files of queries and of labelled questions."""

from pathlib import Path

import pytest

from hub.errors import KnowledgeError
from knowledge.questions import Query, Target, read_labelled, read_queries


def write(tmp_path: Path, text: str) -> Path:
    """Write a file of questions."""
    file = tmp_path / "questions.jsonl"
    file.write_text(text, "utf-8")
    return file


def test_queries_are_typed_or_json(tmp_path: Path) -> None:
    """Both forms, comments and empty lines aside, each query once."""
    file = write(
        tmp_path,
        '# often asked\nopening hours\n\n  opening   hours \n{"q": "prices", "k": 3}\nopening hours\n',
    )

    assert read_queries(file) == [
        Query(text="opening hours"),
        Query(text="opening   hours"),
        Query(text="prices", k=3),
    ]


def test_labels_have_a_short_and_a_long_form(tmp_path: Path) -> None:
    """A target is a document, or a heading in it, with a grade."""
    file = write(
        tmp_path,
        '{"question": "When is it open?", "relevant": "hours.md"}\n'
        '{"question": "And in summer?", "relevant": ["hours.md#Summer", {"source": "a.md", "grade": 3}]}\n',
    )

    first, second = read_labelled(file)

    assert first.relevant == (Target(source="hours.md"),)
    assert second.relevant == (Target(source="hours.md", heading="Summer"), Target(source="a.md", grade=3))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no json", "line 2: not JSON"),
        ('{"question": "x"}', "line 2: relevant"),
        ('{"question": "x", "relevant": []}', "line 2: relevant"),
        ('{"question": " ", "relevant": ["a"]}', "line 2: question"),
        ('{"question": "x", "relevant": ["#only"]}', "line 2: relevant"),
        ('{"question": "x", "relevant": [{"source": "a", "grade": 0}]}', "line 2: relevant"),
        ('{"question": "x", "relevant": ["a"], "more": 1}', "line 2: more"),
        ("[1]", "line 2"),
    ],
)
def test_wrong_label_is_named_with_its_line(tmp_path: Path, line: str, reason: str) -> None:
    """What is wrong is said, and where."""
    file = write(tmp_path, '{"question": "right", "relevant": ["a.md"]}\n' + line)

    with pytest.raises(KnowledgeError, match=reason):
        read_labelled(file)


@pytest.mark.parametrize(
    "line", ['{"q": ""}', '{"q": "x", "k": 99}', '{"k": 1}', '{"q": 1}', "{broken", "x" * 1_001]
)
def test_wrong_query_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    """A file with one wrong line warms nothing in silence."""
    with pytest.raises(KnowledgeError, match="line 1"):
        read_queries(write(tmp_path, line))


def test_unreadable_files_are_told(tmp_path: Path) -> None:
    """Missing, empty, and not text."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfd")

    for file, reason in (
        (tmp_path / "none", "none"),
        (tmp_path / "binary", "UTF-8"),
        (write(tmp_path, "#\n"), "empty"),
    ):
        with pytest.raises(KnowledgeError, match=reason):
            read_queries(file)
        with pytest.raises(KnowledgeError, match=reason):
            read_labelled(file)
