"""What travels on the bus."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.messages import Address, Attachment, InboundMessage, conversation_id, shortened


def message(text: str = "Hello", **fields: object) -> InboundMessage:
    """A message of a person."""
    address = Address(connector="email", account="a", chat="b", person="c")
    values = {"external_key": "k", "conversation": "email-1", "address": address, "text": text}
    return InboundMessage.model_validate({**values, **fields})


def size(one: InboundMessage) -> int:
    """Bytes it takes on the stream."""
    return len(one.model_dump_json().encode("utf-8", "replace"))


def test_a_small_message_stays_as_it_is() -> None:
    """Nothing is cut that fits."""
    one = message(
        quoted="earlier", attachments=(Attachment(name="a", media_type="b", size_bytes=1, text="c"),)
    )

    assert shortened(one, 65_536) == one


def test_what_is_quoted_goes_before_what_was_written() -> None:
    """The person's own words are the last to be cut."""
    one = shortened(message("x" * 1000, quoted="y" * 100_000), 65_536)

    assert one.text == "x" * 1000
    assert 0 < len(one.quoted) < 65_536


@given(st.text(max_size=3000), st.text(max_size=3000), st.integers(600, 4000))
def test_a_shortened_message_always_fits(text: str, quoted: str, limit: int) -> None:
    """Whatever the characters: JSON may need six bytes for one."""
    one = shortened(message(text, quoted=quoted), limit)

    assert size(one) <= limit
    assert text.startswith(one.text.removesuffix(" […]"))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("123456", "42"), "telegram-123456-42"),
        (("123456", "-100200"), "telegram-123456--100200"),
    ],
)
def test_a_plain_conversation_id_is_readable(parts: tuple[str, ...], expected: str) -> None:
    """Operators meet ids in logs and URLs."""
    assert conversation_id("telegram", *parts) == expected


PARTS = st.lists(st.one_of(st.text("-ab_", max_size=4), st.text(max_size=80)), min_size=1, max_size=3)


@given(PARTS, PARTS)
def test_conversation_ids_are_safe_and_distinct(one: list[str], other: list[str]) -> None:
    """No key, path or URL can be made to mean something else, and no two conversations share an id."""
    first, second = conversation_id("web", *one), conversation_id("web", *other)

    assert (first == second) == (one == other)
    assert all(character.isascii() and (character.isalnum() or character in "-_") for character in first)
    assert len(first) <= 64
