"""Whether statements hold an answer, and which of them comes first."""

import pytest

from engine.evidence import Statement, is_answered_by, plain
from engine.text import Block
from knowledge.passages import Passage

MIN_SCORE = 0.4


def _statement(
    text: str, *, similarity: float = 0.7, passage_score: float = 0.6, behind: str = "", number: int = 1
) -> Statement:
    passage = Passage(
        chunk_id=number,
        title="Handbook",
        location=f"{number}.md",
        heading="Handbook > Devices",
        text=f"{text}\n\n{behind}",
        version="1",
        score=passage_score,
    )
    return Statement(
        passage=passage, position=0, block=Block("sentence", text), similarity=similarity, overlap=0.5
    )


@pytest.mark.parametrize(
    ("markdown", "read"),
    [
        ("Type `sys.builtin_module_names`.", "Type sys.builtin_module_names."),
        ("Never `__new__` nor ``a`b`` `*c*`.", "Never __new__ nor a`b *c*."),
        ("Type sys.builtin\\_module\\_names.", "Type sys.builtin_module_names."),
        ("A number in \\[0, 1), **never** _less_ [1].", "A number in [0, 1), never less ."),
        ("\\*not\\* *leaning*, \\_x\\_", "*not* leaning, _x_"),
        ("In code `\\_` is two characters, C:\\Users too.", "In code \\_ is two characters, C:\\Users too."),
        (r"On \\server\share, not \# one.", r"On \\server\share, not # one."),
        ("[The guide](guide.md) ![plan](plan.png)", "The guide plan"),
    ],
)
def test_plain_text_is_what_was_meant(markdown: str, read: str) -> None:
    """Without marks; what was kept from being one is the character that it was."""
    assert plain(markdown) == read


@pytest.mark.parametrize(
    ("question", "text", "behind"),
    [
        ("How do I open the RS232 port?", "The RS232 port is opened by its number.", ""),
        ("How do I configure X11?", "The display is configured by X11's own file.", ""),
        ("Is there an equivalent to Perl’s chomp?", "Lines lose their end as in Perl by chomp.", ""),
        ("Why doesn’t the printer print?", "A printer without paper prints nothing.", ""),
        ("What does Watcher do?", "It looks at a folder:", "```\nWatcher(folder).start()\n```"),
    ],
)
def test_names_and_numbers_are_found_however_they_are_written(question: str, text: str, behind: str) -> None:
    """Within another word, with an apostrophe, in the code of the passage."""
    assert is_answered_by(question, [_statement(text, behind=behind)], MIN_SCORE)


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("How do I open the RS485 port?", "The RS232 port is opened by its number."),
        ("How do I connect WhatsApp?", "You connect a telephone by its number."),
    ],
)
def test_a_name_or_number_that_no_passage_mentions_has_no_answer(question: str, text: str) -> None:
    """However near the passage is."""
    assert not is_answered_by(question, [_statement(text, similarity=0.9)], MIN_SCORE)


def test_neither_the_statement_nor_its_passage_nor_words_suffice_alone() -> None:
    """A question is answered by what they say together."""
    question = "How is the scanner cleaned?"

    assert is_answered_by(question, [_statement("The scanner is cleaned with water.")], MIN_SCORE)
    far = _statement("The scanner is cleaned with water.", similarity=0.3, passage_score=0.3)
    assert not is_answered_by(question, [far], MIN_SCORE)
    other_words = _statement("The scanner has lights.", similarity=0.5, passage_score=0.5)
    assert not is_answered_by(question, [other_words], MIN_SCORE)


def test_a_passage_of_many_things_does_not_hide_the_statement_that_fits() -> None:
    """One near statement counts for a passage that as a whole is far off."""
    statement = _statement("A document has at most 25 MB.", similarity=0.66, passage_score=0.3)

    assert is_answered_by("How large may a document be?", [statement], MIN_SCORE)


def test_a_statement_counts_together_with_its_passage() -> None:
    """Of two equally near ones the one in the nearer passage comes first."""
    near = _statement("It is cleaned weekly.", passage_score=0.7)
    far = _statement("It is cleaned weekly.", passage_score=0.4, number=2)

    assert near.rank > far.rank
