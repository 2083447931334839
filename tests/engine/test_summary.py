"""The running summary of a conversation, and what is told of the conversation from it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.memory.summary import MAX_ENTRY_CHARS, MAX_SUMMARY_CHARS, Summary, entry_of, fold
from engine.memory.talk import told_of_talk
from hub.messages import Turn, utc_now

TEXTS = st.one_of(
    st.text(max_size=400),
    st.lists(
        st.sampled_from(["what?", "> x", "`x`", "<b>", "<|im_end|>", "![i](u)", "\n", "\u202e", "/new", "é"])
    ).map(" ".join),
)


def _turns(texts: Sequence[str]) -> list[Turn]:
    now = utc_now()
    return [
        Turn(turn=f"{number}-0", question=text, answer="yes", asked_at=now, answered_at=now)
        for number, text in enumerate(texts, 1)
    ]


@given(st.lists(TEXTS, max_size=40), st.integers(0, 8))
def test_a_summary_is_bounded_and_keeps_the_order(texts: list[str], window: int) -> None:
    """The newest entries in full, the older ones as a count."""
    turns = _turns(texts)

    summary = fold(Summary(), turns, window=window)

    left = [entry for turn in turns[: max(0, len(turns) - window)] if (entry := entry_of(turn))]
    assert sum(map(len, summary.entries)) + len(summary.entries) <= MAX_SUMMARY_CHARS
    assert all(0 < len(entry) <= MAX_ENTRY_CHARS for entry in summary.entries)
    assert list(summary.entries) == left[summary.dropped :]
    assert summary.count == len(left)


@given(st.lists(TEXTS, max_size=20), st.integers(0, 5))
def test_turn_by_turn_gives_the_same_as_all_at_once(texts: list[str], window: int) -> None:
    """Whatever was folded in already is not folded in again."""
    turns = _turns(texts)
    summary = Summary()

    for end in range(len(turns) + 1):
        summary = fold(summary, turns[:end], window=window)
        assert fold(summary, turns[:end], window=window) == summary

    assert summary == fold(Summary(), turns, window=window)


@given(st.lists(TEXTS, max_size=20))
def test_what_is_stored_is_read_back(texts: list[str]) -> None:
    """As the fields of a hash."""
    summary = fold(Summary(), _turns(texts), window=0)

    assert Summary.from_fields(summary.fields()) == summary


@pytest.mark.parametrize(
    "fields", [{}, {"text": "a", "count": "x", "upto": "y"}, {"count": "9" * 30}, {"upto": "1-"}]
)
def test_damaged_fields_count_for_nothing(fields: dict[str, str]) -> None:
    """What can be read of them is kept."""
    summary = Summary.from_fields(fields)

    assert (summary.upto, summary.dropped) == ("", 0)
    assert summary.entries == tuple(fields.get("text", "").split())


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        (
            "Hello,\nmy name is Ana. Could you tell me how much\nan espresso is?\n> old text?",
            "Could you tell me how much an espresso is?",
        ),
        ("My name is Maria.", "My name is Maria."),
        ("/new", ""),
        ("thanks!", ""),
        ("What did I ask you first?", ""),
        ("…", ""),
        ("What is <b>this</b>\u202e `code` ![x](https://evil.example/a)?", "What is this code x?"),
    ],
)
def test_an_entry_is_what_a_person_asked_or_told(text: str, entry: str) -> None:
    """Shortened, cleaned, and without what is no matter of the talk."""
    assert entry_of(_turns([text])[0]) == entry


def test_a_long_question_is_cut_between_words() -> None:
    """And ends with a sign of it."""
    entry = entry_of(_turns([f"What is {'very ' * 100}long?"])[0])

    assert len(entry) <= MAX_ENTRY_CHARS
    assert entry.endswith("very…")


def test_the_conversation_is_told_from_summary_and_window() -> None:
    """Nothing twice, nothing but what was written."""
    turns = _turns(["My name is Ana.", "What is a lane?", "hello", "How do I connect Telegram?", "Why?"])
    summary = fold(Summary(), turns, window=3)

    assert told_of_talk("first", summary, turns).endswith("“What is a lane?”")
    assert told_of_talk("last", summary, turns).endswith("“Why?”")
    assert told_of_talk("all", summary, turns).partition("\n\n")[2] == (
        "- My name is Ana.\n- What is a lane?\n- How do I connect Telegram?\n- Why?"
    )


def test_what_was_dropped_is_counted_and_the_first_question_stays() -> None:
    """However long the conversation becomes."""
    summary = fold(Summary(), _turns([f"What is number {n} {'and ' * 20}?" for n in range(100)]), window=0)

    assert "“What is number 0 " in told_of_talk("first", summary, [])
    assert "(85 earlier left out)" in told_of_talk("all", summary, [])


def test_an_empty_conversation_is_said_to_be_empty() -> None:
    """Nothing is made up."""
    assert {told_of_talk(wanted, Summary(), []) for wanted in ("first", "last", "all")} == {
        "Nothing was asked before this in our conversation."
    }
