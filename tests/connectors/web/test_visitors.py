"""Visitor tokens and turn handles."""

from datetime import timedelta

import pytest

from connectors.web.visitors import TOKEN_LIFETIME, VisitorTokens
from hub.errors import SettingsError
from hub.messages import utc_now
from tests.connectors.web.edges import KEY

TOKENS = VisitorTokens(KEY)


def test_token_names_its_visitor_again() -> None:
    """Any process with the key reads it."""
    visitor = TOKENS.new_visitor("hub")

    assert VisitorTokens(KEY).read(TOKENS.sign(visitor), "hub") == visitor


def test_every_visitor_is_new() -> None:
    """Two visitors never share a conversation."""
    assert len({TOKENS.new_visitor("hub").conversation for _ in range(100)}) == 100


def test_token_is_good_on_its_site_alone() -> None:
    """What one page's script reads is worth nothing elsewhere."""
    token = TOKENS.sign(TOKENS.new_visitor("https://a.example"))

    assert TOKENS.read(token, "https://b.example") is None


def test_token_of_another_key_is_refused() -> None:
    """A hub with another secret does not know the visitor."""
    token = VisitorTokens(b"another key of 16+ bytes").sign(TOKENS.new_visitor("hub"))

    assert TOKENS.read(token, "hub") is None


@pytest.mark.parametrize("position", [0, 3, 20, 40, -1])
def test_changed_token_is_refused(position: int) -> None:
    """One letter is enough."""
    token = TOKENS.sign(TOKENS.new_visitor("hub"))
    letters = list(token)
    letters[position] = "b" if letters[position] == "a" else "a"

    assert TOKENS.read("".join(letters), "hub") is None


def test_token_ends() -> None:
    """Who does not come back for so long is somebody new."""
    visitor = TOKENS.new_visitor("hub")
    now = utc_now()
    token = TOKENS.sign(visitor, now)

    assert TOKENS.read(token, "hub", now + TOKEN_LIFETIME - timedelta(seconds=2)) == visitor
    assert TOKENS.read(token, "hub", now + TOKEN_LIFETIME + timedelta(seconds=2)) is None


def test_handle_gives_its_turn_to_its_conversation_alone() -> None:
    """A guessed turn id is no handle."""
    handle = TOKENS.handle("web-hub-a", "1700000000000-0")

    assert TOKENS.turn("web-hub-a", handle) == "1700000000000-0"
    assert TOKENS.turn("web-hub-b", handle) is None
    assert TOKENS.turn("web-hub-a", "1700000000000-0") is None
    assert TOKENS.turn("web-hub-a", handle.replace("-0.", "-1.")) is None


def test_short_key_is_refused() -> None:
    """A key that can be guessed signs nothing."""
    with pytest.raises(SettingsError, match="at least 16"):
        VisitorTokens(b"short")
