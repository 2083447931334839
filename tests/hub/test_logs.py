"""Logs tell what happened, and neither what was said nor anything secret."""

import logging
from collections.abc import Callable, Iterator

import orjson
import pytest
import structlog
from pydantic import ValidationError

from hub.logs import LogSettings, configure_logs
from hub.messages import InboundMessage

TOKEN = "123456789:" + "A" * 35

FORMATS = pytest.mark.parametrize("form", ["json", "console"])

Configure = Callable[[str], None]


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Set logs up in one format; everything is as before after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda form: configure_logs(LogSettings.model_validate({"format": form}))
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def break_with_a_message() -> None:
    """Fail while a message and a token are at hand, as a handler does."""
    text, token = "my secret diary", TOKEN
    assert text
    assert token
    raise RuntimeError("it broke")


@FORMATS
def test_a_traceback_holds_no_values(
    configure: Configure, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """Where it broke is told, what was at hand is not."""
    configure(form)
    try:
        break_with_a_message()
    except RuntimeError:
        structlog.get_logger("test").exception("attempt_failed")

    written = capsys.readouterr().err
    assert "it broke" in written
    assert "break_with_a_message" in written
    assert TOKEN not in written


@FORMATS
def test_secrets_in_tracebacks_are_hidden(
    configure: Configure, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """An error of a library may quote an address with a token in it."""
    configure(form)
    try:
        raise OSError(f"cannot connect to https://api.telegram.org/bot{TOKEN}/getMe")
    except OSError:
        structlog.get_logger("test").exception("call_failed")

    written = capsys.readouterr().err
    assert "cannot connect" in written
    assert TOKEN not in written


def test_an_unreadable_message_does_not_quote_itself() -> None:
    """The error of a message that does not fit its model tells the fault, not the text."""
    with pytest.raises(ValidationError) as error:
        InboundMessage.model_validate({"text": ["my secret diary"]})

    assert "my secret diary" not in str(error.value)


def test_what_strangers_wrote_cannot_write_to_the_terminal(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    """No second line, no colours, no cursor: a value stays a value."""
    configure("console")
    structlog.get_logger("test").info("origin_refused", origin="x\n2026 [info] all_fine\x1b[2J\x9b2J")

    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert "\x1b[2J" not in written
    assert "\x9b" not in written


def test_records_of_libraries_become_lines_like_the_others(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    """One JSON object each, with their secrets hidden, from the level of a warning up."""
    configure("json")
    logging.getLogger("aiohttp.server").warning("slow: %s", f"bot{TOKEN}")
    logging.getLogger("aiohttp.server").info("nobody reads this")

    lines = capsys.readouterr().err.splitlines()
    assert [orjson.loads(line)["text"] for line in lines] == ["slow: bot***"]


@FORMATS
def test_secrets_within_lists_and_tables_are_hidden(
    configure: Configure, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """A value is looked into, however deep it lies; what lies deeper than anybody looks is not written."""
    card = "4111 1111 1111 1111"
    deep: object = TOKEN
    for _ in range(8):
        deep = [deep]
    configure(form)

    structlog.get_logger("test").info(
        "call_failed",
        headers={"Authorization": "Bearer x", "Accept": f"bot{TOKEN}"},
        parts=[f"paid with {card}", (TOKEN,), {"inner": {"api_key": "plain"}}],
        body=f"card={card}".encode(),
        deep=deep,
        tokens=12,
    )

    written = capsys.readouterr().err
    assert card not in written
    assert TOKEN not in written
    assert "plain" not in written
    assert "Bearer x" not in written
    assert "12" in written
    assert "Accept" in written
