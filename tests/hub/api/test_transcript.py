"""Live text for clients that can only append."""

import pytest

from hub.api.openai.transcript import Transcript
from hub.api.problems import Problem
from hub.live import LiveEvent


def delta(offset: int, text: str) -> LiveEvent:
    """A piece of text."""
    return LiveEvent(kind="delta", conversation="c", turn="1-0", offset=offset, text=text)


RESET = LiveEvent(kind="reset", conversation="c", turn="1-0")


def test_pieces_add_up() -> None:
    """Each is shown once; the end adds what was not shown."""
    transcript = Transcript()

    shown = [
        transcript.take(delta(0, "one ")),
        transcript.take(delta(4, "two")),
        transcript.rest("one two three"),
    ]

    assert shown == ["one ", "two", " three"]


def test_a_lost_piece_is_made_up_for_at_the_end() -> None:
    """What follows a gap is not shown before what is missing."""
    transcript = Transcript()

    shown = [
        transcript.take(delta(0, "one ")),
        transcript.take(delta(8, "three")),
        transcript.rest("one two three"),
    ]

    assert shown == ["one ", "", "two three"]


def test_an_answer_that_is_begun_again_goes_on_where_it_was() -> None:
    """The new attempt is shown from where it goes beyond what was shown; nothing stands twice."""
    transcript = Transcript()
    events = [delta(0, "one two"), RESET, delta(0, "one"), delta(3, " two th"), delta(10, "ree")]

    shown = [transcript.take(event) for event in events]

    assert shown == ["one two", "", "", " th", "ree"]
    assert transcript.rest("one two three") == ""


def test_another_answer_is_an_error() -> None:
    """What was shown cannot be taken back: the client is told instead of being given two answers in one."""
    transcript = Transcript()

    shown = [transcript.take(event) for event in (delta(0, "one"), RESET, delta(0, "other"))]

    assert shown == ["one", "", ""]
    with pytest.raises(Problem, match="differently"):
        transcript.rest("other")
