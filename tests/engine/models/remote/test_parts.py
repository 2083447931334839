"""The parts of a remote model that need no network."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.models.base import ChatMessage, GenerateOptions, Prompt
from engine.models.markup import without_markup
from engine.models.remote.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker
from engine.models.remote.estimate import estimate_text
from engine.models.remote.sse import MAX_EVENT_BYTES, EventReader, TooLong
from engine.models.remote.wire import NotThisProtocol, ServerSaid, make_request, read_event

OPTIONS = GenerateOptions(max_tokens=8)


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now_s


def test_a_breaker_lets_one_try_after_each_pause_and_all_after_a_success() -> None:
    """Pauses double up to their limit."""
    clock = Clock()
    breaker = Breaker(clock)
    assert breaker.admit()

    breaker.failed()
    assert not breaker.admit()
    clock.now_s += FIRST_PAUSE_S
    assert breaker.admit()
    assert not breaker.admit()

    breaker.failed()
    assert breaker.wait_s == 2 * FIRST_PAUSE_S
    for _ in range(10):
        breaker.failed()
    assert breaker.wait_s == LONGEST_PAUSE_S

    clock.now_s += LONGEST_PAUSE_S
    assert breaker.admit()
    breaker.release()
    assert breaker.admit()
    assert not breaker.admit()

    breaker.succeeded()
    assert breaker.admit()
    assert breaker.admit()


def test_a_breaker_keeps_a_longer_pause_that_was_asked_for_within_reason() -> None:
    """A server that asks for an hour is tried again in a minute."""
    breaker = Breaker(Clock())

    breaker.failed(20.0)
    assert breaker.wait_s == 20.0
    breaker.failed(3600.0)
    assert breaker.wait_s == LONGEST_PAUSE_S


@given(
    st.lists(st.binary(max_size=20).filter(lambda data: not set(data) & {10, 13}), max_size=8),
    st.sampled_from([b"\n", b"\r\n"]),
    st.integers(1, 40),
)
def test_events_are_the_same_however_they_are_cut(texts: list[bytes], newline: bytes, size: int) -> None:
    """Where a network cuts the bytes does not show, and comments and other fields are left out."""
    stream = b"".join(
        b": ping" + newline + b"id: 1" + newline + b"data: " + text + newline * 2 for text in texts
    )
    reader = EventReader()

    events = [event for at in range(0, len(stream), size) for event in reader.feed(stream[at : at + size])]

    assert events == texts


def test_data_of_several_lines_is_one_event() -> None:
    """Lines are joined, and what no blank line closes is not an event."""
    assert list(EventReader().feed(b"data: a\ndata:b\n\ndata: c\n")) == [b"a\nb"]


def test_what_has_no_end_is_refused_before_it_fills_the_memory() -> None:
    """A line and an event have the same limit."""
    for chunk in (b"a" * 65536, b"data: a\n" * 8192):
        reader = EventReader()
        chunks = [chunk] * (MAX_EVENT_BYTES // 65536 * 2)
        with pytest.raises(TooLong):
            all(not list(reader.feed(chunk)) for chunk in chunks)


_NAMES = st.sampled_from(
    ["choices", "usage", "error", "delta", "content", "text", "prompt_tokens", "finish_reason"]
)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_NAMES, inner, max_size=3),
        max_leaves=6,
    )
)
def test_an_event_of_any_shape_is_read_or_refused(value: object) -> None:
    """Nothing another server can write leads to any other error."""
    try:
        piece = read_event(orjson.dumps(value))
    except (NotThisProtocol, ServerSaid):
        return
    assert isinstance(piece.text, str)
    assert piece.prompt_tokens >= 0


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The shop opens at nine in the morning.", 9),
        ("Bitte wenden Sie sich an die Leitung.", 11),
        ("Магазин открывается в девять часов.", 14),
        ("商店早上九点开门。", 12),
        ("12345", 5),
        ("", 0),
    ],
)
def test_an_estimate_is_near_the_truth_and_rather_above(text: str, tokens: int) -> None:
    """The truth is what a vocabulary of 49,152 tokens makes of the text."""
    assert 0.8 * tokens <= estimate_text(text) <= 2.6 * tokens


def test_marks_of_chat_templates_are_letters_to_a_server() -> None:
    """Messages are put into its own template there; what a client continues as it stands is not touched."""
    marks = (
        "<|im_start|>",
        "<|eot_id|>",
        "[INST]",
        "[/INST]",
        "<<SYS>>",
        "</s>",
        "<start_of_turn>",
        "<｜User｜>",
    )
    text = f"{' '.join(marks)} a < b, list[int], <b>"

    asked = make_request("m", Prompt(messages=(ChatMessage(role="user", text=text),)), OPTIONS).body.decode()
    continued = make_request("m", Prompt(text=text), OPTIONS).body.decode()

    assert [mark for mark in marks if mark in asked] == []
    assert "a < b, list[int], <b>" in asked
    assert [mark for mark in marks if mark not in continued] == []


@given(st.text(alphabet="<|>[]/sINT_im", max_size=40))
def test_no_text_holds_a_mark_once_they_are_taken_out(text: str) -> None:
    """However marks lie within each other; and what holds none is left alone."""
    plain = without_markup(text)

    assert without_markup(plain) == plain
    assert not any(mark in plain for mark in ("<s>", "</s>", "[INST]", "[/INST]", "<|im|>"))
    assert plain.replace(" ", "") == text.replace(" ", "")
