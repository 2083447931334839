"""What only comes back to a person is no news about them."""

from engine.memory.echoes import without_echoes
from engine.memory.facts import told_facts
from hub.messages import FactChange, Source, Turn, utc_now


def _turn(question: str, answer: str, *, quote: str = "", told: str = "") -> Turn:
    source = Source(number=1, title="t", location="l", quote=quote, score=0.5)
    return Turn(
        turn="1-0",
        question=question,
        answer=answer,
        sources=(source,) if quote else (),
        facts=(FactChange(key="home", text="The user lives in Goa.", quote=told),) if told else (),
        asked_at=utc_now(),
        answered_at=utc_now(),
    )


def _left(text: str, *turns: Turn, quoted: str = "") -> set[str]:
    return set(without_echoes(told_facts(text), turns, [quoted]))


def test_words_of_an_answer_or_its_source_are_an_echo() -> None:
    """However the person goes on from them."""
    answered = _turn("Who?", "The poem says: I live in Goa.")
    sourced = _turn("Who?", "See [1].", quote="“I live in Goa,” he said.")

    assert _left("I live in Goa", answered) == set()
    assert _left("i  live in GOA now and for ever", sourced) == set()
    assert _left("I live in Goa", quoted="> I live in Goa") == set()


def test_other_words_are_not() -> None:
    """Nor are those that the person had told as a fact before."""
    told = _turn("I live in Goa", "Noted.", told="I live in Goa")
    answered = _turn("What did I say?", "- I live in Goa")

    assert _left("I live in Lisbon", answered) == {"home"}
    assert _left("I live in Goalpara", answered) == {"home"}
    assert _left("I live in Goa", told, answered) == {"home"}
    assert _left("I live in Goa") == {"home"}


def test_having_told_another_fact_of_the_kind_does_not_help() -> None:
    """It is the words of what is told that count."""
    told = _turn("I work as a nurse", "Noted. It says: I work as a keeper.", told="I work as a nurse")

    assert _left("I work as a keeper", told) == set()
    assert _left("I work as a nurse", told) == {"work"}


def test_repeating_an_echo_does_not_make_it_ones_own() -> None:
    """Not the second time either."""
    answered = _turn("Who?", "The poem says: I live in Goa.")
    repeated = _turn("I live in Goa", "The poem says: I live in Goa.")

    assert _left("I live in Goa", answered, repeated) == set()
    assert _left("I live in Goa", repeated) == set()
