"""Bytes of tokens to text."""

import pytest

from engine.models.text_stream import TextStream


def _run(parts: list[bytes], *stop: str) -> list[str]:
    stream = TextStream(stop)
    return [*(stream.feed(part) for part in parts), stream.finish()]


def test_a_character_split_over_tokens_is_delivered_once_whole() -> None:
    """Its first bytes give nothing."""
    first, second = "é".encode()[:1], "é".encode()[1:]

    assert _run([b"caf", first, second]) == ["caf", "", "é", ""]


def test_broken_utf8_becomes_a_replacement_character() -> None:
    """Never an exception."""
    assert "".join(_run([b"a\xff", b"\xe2\x82"])) == "a\ufffd\ufffd"


@pytest.mark.parametrize(
    "parts", [[b"one STOP two"], [b"one ST", b"OP two"], [b"one ", b"S", b"T", b"O", b"P"]]
)
def test_nothing_of_a_stop_string_is_shown(parts: list[bytes]) -> None:
    """However it is cut into tokens."""
    assert "".join(_run(parts, "STOP")) == "one "


def test_a_false_beginning_of_a_stop_string_is_delivered_later() -> None:
    """What was held back is text after all."""
    assert _run([b"a ST", b"ART"], "STOP") == ["a ", "START", ""]


def test_the_first_of_several_stop_strings_counts() -> None:
    """Order in the settings does not matter."""
    assert "".join(_run([b"a B c A"], "A", "B")) == "a "
