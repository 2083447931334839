"""Words as lexical search compares them."""

import re
import sqlite3

import pytest

from knowledge.terms import question_words, stem, terms
from tests.settings_tree import ROOT


def test_stems_are_those_of_the_index() -> None:
    """Every word of the project's documents is cut as FTS5 cuts it, so that counts and candidates agree."""
    files = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "LICENSE"]
    text = " ".join(file.read_text("utf-8") for file in files)
    words = sorted({word.lower() for word in re.findall(r"[A-Za-z]+", text) if len(word) < 30})
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE words USING fts5(word, tokenize = 'porter unicode61')")
    database.execute("CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, 'instance')")
    database.executemany("INSERT INTO words (rowid, word) VALUES (?, ?)", enumerate(words, start=1))
    theirs = {row: term for term, row in database.execute("SELECT term, doc FROM vocabulary")}

    ours = {number: stem(word) for number, word in enumerate(words, start=1)}

    assert len(words) > 2_000
    assert ours == theirs
    database.close()


def test_common_words_tell_nothing() -> None:
    """Only what is asked for is left of a question."""
    assert terms("How do I water my tomatoes?") == ["water", "tomato"]
    assert terms("What's this about, and why?") == []


def test_names_of_code_are_found_by_their_parts() -> None:
    """A name is a word, and so is each of its parts."""
    assert terms("getUserName") == ["getusernam", "get", "user", "name"]
    assert terms("max_length HTTPServer") == ["max_length", "max", "length", "httpserver", "http", "server"]


def test_question_keeps_the_words_as_they_were_written() -> None:
    """The database cuts endings off itself."""
    assert question_words("Watering the watered tomatoes") == {"water": "watering", "tomato": "tomatoes"}


@pytest.mark.parametrize(
    "text", ["", "\x00", "\ud800", "日本語", "'' ’", "x" * 10_000, "_ __ a_", "ÀÉ ñandú"]
)
def test_no_text_is_an_error(text: str) -> None:
    """Whatever comes gives words or none."""
    assert all(0 < len(word) <= 40 for word in terms(text))
