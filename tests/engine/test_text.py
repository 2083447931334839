"""Words, sentences and blocks."""

import pytest

from engine.text import blocks, content_stems, names, numbers, sentences, stem, words
from tests.cost import LINEAR, growth


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("connect", "connecting"),
        ("tier", "tiers"),
        ("enrol", "enrolled"),
        ("carry", "carried"),
        ("maintains", "maintainers"),
        ("close", "closed"),
        ("saturday", "saturdays"),
    ],
)
def test_forms_of_a_word_have_one_stem(one: str, other: str) -> None:
    """So that a question and a document meet."""
    assert stem(one) == stem(other)


@pytest.mark.parametrize(("one", "other"), [("opens", "option"), ("price", "print"), ("lesson", "less")])
def test_different_words_keep_different_stems(one: str, other: str) -> None:
    """Cutting too much would let anything pass."""
    assert stem(one) != stem(other)


def test_sentences_end_at_full_stops_but_not_at_abbreviations() -> None:
    """Numbers and file names hold dots as well."""
    text = (
        "Use e.g. Redis 6.2 here. Dr. Smith agrees! Set telegram.token in settings.toml. (Does it work?) Yes."
    )

    assert sentences(text) == [
        "Use e.g. Redis 6.2 here.",
        "Dr. Smith agrees!",
        "Set telegram.token in settings.toml.",
        "(Does it work?)",
        "Yes.",
    ]


@pytest.mark.parametrize("text", ["A. ", "e.g. ", ". ", '." ', "a ", "*", "Dr."])
def test_no_text_takes_long(text: str) -> None:
    """A message of abbreviations alone kept everybody waiting."""
    assert growth(sentences, (text * 100_000)[:100_000]) < LINEAR


def test_lists_and_code_stay_whole() -> None:
    """Headings are left out, wrapped lines are joined by their sentence."""
    text = "## Title\nFirst line\ngoes on. Second.\n\n1. one\n2. two\n   more\n\n```sh\n# no heading\nrun\n```\nEnd."

    assert [(block.kind, block.text) for block in blocks(text)] == [
        ("sentence", "First line goes on."),
        ("sentence", "Second."),
        ("list", "1. one\n2. two more"),
        ("code", "```sh\n# no heading\nrun\n```"),
        ("sentence", "End."),
    ]


def test_an_item_of_a_list_is_one_line() -> None:
    """Where a file breaks it says nothing; code in it keeps its lines, and what is nested keeps its own."""
    text = "- one\n  goes on\n  ```sh\n  a\n  b\n  ```\n  after it\n  and on\n  - nested\n    more\n- two"

    [block] = blocks(text)

    assert block.text == (
        "- one goes on\n  ```sh\n  a\n  b\n  ```\n  after it and on\n  - nested more\n- two"
    )


@pytest.mark.parametrize(
    "text", ["", "\n\n", "```", "```\nnever closed", "- ", "1.", "#" * 1000, "- a\n" * 5000]
)
def test_any_text_has_blocks(text: str) -> None:
    """Nothing that lies in a document makes the split fail or hang."""
    assert all(block.text for block in blocks(text))


def test_names_and_numbers_are_told_from_other_words() -> None:
    """The first word of a sentence is capitalised anyway."""
    assert names("When does Layer 4 of Coconut open?") == {stem("layer"), stem("coconut")}
    assert numbers("Layer 4 costs 2.40 euros in three cities") == {"4", "2.40", "three"}
    assert content_stems("What is the name of it?") == {stem("name")}


def test_each_row_of_a_table_is_a_sentence_with_named_cells() -> None:
    """A row makes sense by itself; a wall of pipes does not."""
    table = """Fees follow.

| Instrument | Fee per hour | Training |
|---|---:|---|
| Electron microscope | 45 euros | two days |
| Spectrometer | | one hour |

Ask the office."""

    assert [(block.kind, block.text) for block in blocks(table)] == [
        ("sentence", "Fees follow."),
        ("row", "Electron microscope: Fee per hour: 45 euros; Training: two days."),
        ("row", "Spectrometer: Training: one hour."),
        ("sentence", "Ask the office."),
    ]


def test_rows_cut_off_from_their_header_are_kept() -> None:
    """A long table is spread over several passages."""
    assert [block.text for block in blocks("| Ines Falk | Administration | 4402 |  |")] == [
        "Ines Falk: Administration; 4402."
    ]


def test_an_apostrophe_belongs_to_a_contraction() -> None:
    """A quotation mark and another language's elision do not."""
    assert words("It isn't Perl’s 'new' l'heure") == ["it", "isn't", "perl's", "new", "l", "heure"]
    assert content_stems("Why doesn’t the user's mail arrive?") == {"mail", "arriv"}
