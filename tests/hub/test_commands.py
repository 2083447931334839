"""Commands that people type."""

import pytest

from hub.commands import command_of, is_stop


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/stop", "/stop"),
        ("  /STOP@my_bot now\n", "/stop"),
        ("/stopwatch", "/stopwatch"),
        ("please /stop", ""),
        ("stop", ""),
        ("", ""),
        ("/", "/"),
    ],
)
def test_a_command_is_the_first_word_of_a_message(text: str, command: str) -> None:
    """In any case, without the name of the bot it is for."""
    assert command_of(text) == command
    assert is_stop(text) == (command == "/stop")
