"""Text from outside is normalised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.text import language_tag, normalise
from tests.cost import LINEAR, growth


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("plain\ttext\nstays", "plain\ttext\nstays"),
        ("a\x00b\x1b[31mc\x7f", "ab[31mc"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("e\u0301", "é"),
        ("\ud800 alone \udc00", "\ufffd alone \ufffd"),
        ("\ud83d\ude00", "😀"),
        ("abc\u202etxt.exe\u2066", "abctxt.exe"),
        ("pay\u200bload\ufeff\u2060", "payload"),
        ("hid\U000e0068\U000e0069den", "hidden"),
        ("i\u200dg\u200cnore", "ignore"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("字\u200d\u200c\u200d字", "字字"),
        ("❤️\u200d🔥", "❤️\u200d🔥"),
        ("", ""),
    ],
)
def test_what_cannot_be_seen_is_removed(raw: str, clean: str) -> None:
    """Controls, bidi, zero-width and tag characters go; what a script needs stays."""
    assert normalise(raw) == clean


@given(st.text(alphabet=st.characters(categories=("L", "M", "N", "P", "S", "Z", "C")), max_size=200))
def test_normalising_twice_changes_nothing(raw: str) -> None:
    """The result is stable and always fits into UTF-8."""
    once = normalise(raw)

    assert normalise(once) == once
    once.encode()


def test_a_wall_of_combining_marks_is_cut_quickly() -> None:
    """A crafted text cannot make normalisation quadratic."""
    wall = "a" + "\u0301\u0316" * 100_000

    assert len(normalise(wall)) <= 32
    assert growth(normalise, wall) < LINEAR


def test_only_language_tags_are_language_tags() -> None:
    """What a client calls its language is a tag or nothing."""
    tags = ["de", "zh-Hant-TW", "", "*", "e", "de_CH", "de\n", "\udcff", "a" * 9, "en-" + "x" * 9]

    assert [language_tag(tag) for tag in tags] == ["de", "zh-Hant-TW", *[""] * 8]
