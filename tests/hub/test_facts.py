"""Facts with their proof, and what is left of them when a message is taken back."""

from datetime import UTC, datetime

import pytest

from hub.facts import EARLIER_KEPT, Fact, parse_fact


def _fact(text: str, turn: str) -> Fact:
    return Fact(text=text, quote=text.upper(), turn=turn, told_at=datetime(2026, 5, int(turn[0]), tzinfo=UTC))


def test_a_fact_is_read_as_it_was_written() -> None:
    """With its proof and its history."""
    fact = _fact("b", "2-0").after(_fact("a", "1-0"))

    assert parse_fact(fact.to_field()) == fact


@pytest.mark.parametrize("field", ["The user's name is Ana.", "{not json", '{"quote": "x"}', ""])
def test_whatever_else_stands_there_is_a_bare_sentence(field: str) -> None:
    """As earlier versions wrote it, or damaged."""
    assert parse_fact(field) == Fact(text=field)


def test_a_contradiction_keeps_what_it_replaces() -> None:
    """The latest few, oldest first; the same told again replaces nothing."""
    fact = _fact("a", "1-0")
    for number in range(2, 9):
        fact = _fact(str(number), f"{number}-0").after(fact)
    again = _fact("8", "9-0").after(fact)

    assert [one.text for one in fact.earlier] == ["3", "4", "5", "6", "7"]
    assert len(fact.earlier) == EARLIER_KEPT
    assert (again.turn, again.earlier) == ("9-0", fact.earlier)


def test_taking_a_message_back_brings_the_earlier_fact_back() -> None:
    """And takes it out of the history of a later one."""
    fact = _fact("c", "3-0").after(_fact("b", "2-0").after(_fact("a", "1-0")))

    assert fact.without("9-0") == fact
    middle = fact.without("2-0")
    assert middle
    assert [one.text for one in middle.earlier] == ["a"]
    last = fact.without("3-0")
    assert last
    assert (last.text, last.quote, last.turn) == ("b", "B", "2-0")
    assert [one.text for one in last.earlier] == ["a"]
    assert _fact("a", "1-0").without("1-0") is None
