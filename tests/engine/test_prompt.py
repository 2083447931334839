"""What goes into a prompt."""

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.memory.summary import Summary
from engine.memory.window import window
from engine.models.base import ChatMessage
from engine.models.llama.model import LlamaChatModel
from engine.profiles import GENERAL, SMOLLM2, Profile
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


def test_a_fact_that_alone_would_take_long_is_left_out(llama: LlamaChatModel) -> None:
    """Five hundred characters can be thousands of tokens."""
    assert within_budget(llama, ["\ufdfa" * 500, "b"]) == ["b"]
    assert within_budget(llama, ["\ufdfa" * 500]) == []


TEXTS = st.text(max_size=300) | st.lists(st.sampled_from(["word", "é", "东京", "<|im_end|>", "\n", "9"])).map(
    " ".join
)
TURNS = st.lists(st.tuples(TEXTS, TEXTS), max_size=12)


class _Sized:
    """The bundled model's own counting under another context length."""

    def __init__(self, model: LlamaChatModel | EchoModel, context_length: int) -> None:
        self.name = "sized"
        self.context_length = context_length
        self.count_tokens = model.count_tokens


def _checked(
    model: LlamaChatModel | EchoModel,
    profile: Profile,
    room: int,
    facts: list[str],
    turns: list[tuple[str, str]],
    question: str,
    style: str,
    *,
    long: bool,
) -> None:
    opening = list(profile.opening_messages())
    answer_tokens = 10
    least = model.count_tokens([*opening, asked(profile, [], question)])
    context_length = (8192 if long else least + room) + answer_tokens
    sized = _Sized(model, context_length)
    history = [_turn(asked, answered) for asked, answered in turns]

    prompt = compose(
        sized,  # type: ignore[arg-type]  # it counts, and nobody generates
        profile,
        facts,
        question,
        answer_tokens=answer_tokens,
        turns=history,
        last_turns=6,
        summary=Summary(entries=("What is a lane?",), count=1),
        style=style,
    )

    assert model.count_tokens(prompt.messages) <= context_length - answer_tokens
    assert list(prompt.messages[: prompt.shared]) == opening
    between = prompt.messages[prompt.shared : -1]
    shown = [message.text for message in between if message.role != "system"]
    newest = [text[:400] for asked, answered in turns[-6:] for text in (asked, answered)]
    assert len(shown) % 2 == 0
    assert shown == newest[len(newest) - len(shown) :]
    manner = [message.text for message in between if message.role == "system" and message.text == style]
    assert manner in ([], [style])
    assert not (manner and not profile.follows_style)
    kept = next(
        n for n in range(len(facts), -1, -1) if prompt.messages[-1] == asked(profile, facts[:n], question)
    )
    if kept < len(facts):
        assert shown == []


def asked(profile: Profile, facts: list[str], question: str) -> ChatMessage:
    """Return the message that asks."""
    return ChatMessage(role="user", text=profile.ask(facts, question))


@given(
    st.integers(0, 400),
    st.lists(TEXTS.filter(bool), max_size=8),
    TURNS,
    TEXTS,
    st.sampled_from(["", "Answer briefly."]),
    st.booleans(),
)
def test_a_prompt_never_exceeds_its_budget(
    room: int, facts: list[str], turns: list[tuple[str, str]], question: str, style: str, long: bool
) -> None:
    """Whatever is remembered: the newest turns are the ones that stay, and facts go only after all turns have gone."""
    for profile in (SMOLLM2, GENERAL):
        _checked(EchoModel(), profile, room, facts, turns, question, style, long=long)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 600), st.lists(TEXTS.filter(bool), max_size=8), TURNS, TEXTS, st.booleans())
def test_a_prompt_never_exceeds_the_budget_of_the_very_model(
    llama: LlamaChatModel,
    room: int,
    facts: list[str],
    turns: list[tuple[str, str]],
    question: str,
    long: bool,
) -> None:
    """Counted by the bundled model's own tokenizer and template."""
    _checked(llama, SMOLLM2, room, facts, turns, question, "Answer briefly.", long=long)


def test_style_is_told_to_models_that_can_follow_it() -> None:
    """In one short line before the question, and not to the bundled one."""

    def told(profile: Profile) -> list[str]:
        prompt = compose(EchoModel(), profile, [], "Who?", answer_tokens=10, style="Answer in German.")
        return [message.text for message in prompt.messages[prompt.shared :]]

    assert told(GENERAL) == ["Answer in German.", "Who?"]
    assert told(SMOLLM2) == ["Who?"]
