"""What goes into a prompt."""

from engine.memory.summary import Summary
from engine.memory.window import window
from engine.profiles import SMOLLM2
from engine.prompt import compose, within_budget
from hub.messages import Turn, utc_now
from tests.models import EchoModel


def _turn(question: str, answer: str = "yes", kind: str = "answer") -> Turn:
    return Turn.model_validate(
        {
            "turn": "1",
            "question": question,
            "answer": answer,
            "kind": kind,
            "asked_at": utc_now(),
            "answered_at": utc_now(),
        }
    )


def test_the_window_keeps_the_latest_turns_that_fit() -> None:
    """Oldest first, and notices are no part of the conversation."""
    turns = [_turn("one"), _turn("two"), _turn("/help", kind="notice"), _turn("three")]

    def count(messages: object) -> int:
        assert isinstance(messages, list)
        return len(messages)

    kept = window(turns, last=6, budget_tokens=4, count=count)

    assert [message.text for message in kept] == ["two", "yes", "three", "yes"]
    assert window(turns, last=0, budget_tokens=100, count=count) == []


def test_a_prompt_begins_with_the_shared_examples() -> None:
    """They are what the prefix cache holds."""
    prompt = compose(EchoModel(), SMOLLM2, ["Ana runs the shop."], "Who runs it?", answer_tokens=10)

    assert prompt.messages[:-1] == SMOLLM2.opening_messages()
    assert prompt.messages[-1].text == "Facts: Ana runs the shop.\nQuestion: Who runs it?"


def test_what_does_not_fit_is_left_out_from_the_back() -> None:
    """First the earlier turns, then the least important facts."""
    opening = EchoModel().count_tokens(SMOLLM2.opening_messages())
    model = EchoModel(context_length=opening + 30)

    prompt = compose(
        model,
        SMOLLM2,
        ["a b c d e", "f " * 50],
        "Who?",
        answer_tokens=10,
        turns=[_turn("earlier " * 3)],
        last_turns=6,
    )

    assert len(prompt.messages) == len(SMOLLM2.opening_messages()) + 1
    assert prompt.messages[-1].text == "Facts: a b c d e\nQuestion: Who?"


def _roles_and_texts(model: EchoModel, entries: tuple[str, ...]) -> list[tuple[str, str]]:
    prompt = compose(
        model,
        SMOLLM2,
        ["Ana runs it."],
        "Who?",
        answer_tokens=10,
        turns=[_turn("earlier")],
        last_turns=6,
        summary=Summary(entries=entries, count=len(entries)),
    )
    return [(message.role, message.text) for message in prompt.messages[len(SMOLLM2.opening_messages()) :]]


def test_the_summary_stands_before_the_window_for_a_model_with_a_long_context() -> None:
    """On one line; a small model is confused by it."""
    asked = ("What is a lane?", "How much is it?")

    long, short = (_roles_and_texts(EchoModel(context_length=size), asked) for size in (8192, 4096))

    assert long[0] == (
        "system",
        "Earlier in this conversation the user asked about: What is a lane? How much is it?",
    )
    assert long[1:] == short
    assert [role for role, _ in short] == ["user", "assistant", "user"]


def test_the_newest_of_a_long_summary_are_shown() -> None:
    """As many as the budget holds."""
    [(_, line), *_] = _roles_and_texts(
        EchoModel(context_length=8192), tuple(f"What is number {number}?" for number in range(200))
    )

    assert line.endswith("What is number 198? What is number 199?")
    assert "number 0?" not in line


def test_at_least_one_fact_is_kept() -> None:
    """However long it is."""
    assert within_budget(EchoModel(), ["a " * 400, "b"]) == ["a " * 400]
