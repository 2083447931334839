"""Structured logs: JSON where a machine reads them, coloured lines on a terminal; never message text or secrets."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Annotated, Any, Literal

import structlog
from pydantic import Field

from hub.model_settings import Table
from hub.redaction import MASK, without_secrets

_SECRET_NAMES = re.compile(
    r"token|secret|passw|pwd|api[_-]?key|private_key|credential|cookie|authorization|signature", re.IGNORECASE
)
_DEPTH = 4
"""Lists within lists that are looked into; what lies deeper is not written."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class InteractionSettings(Table):
    """How the file with all questions and answers is continued."""

    max_bytes: Annotated[int, Field(ge=1)] = 10_000_000
    """A new file is begun when this one has grown so large."""
    max_age_days: Annotated[int, Field(ge=0)] = 7
    """Or when its first line is so old; 0: however old it is."""
    keep: Annotated[int, Field(ge=0)] = 10
    """Earlier files; older ones are deleted when a new one is begun."""


class LogSettings(Table):
    """Logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """`auto`: coloured lines on a terminal, JSON elsewhere."""
    interactions: bool = False
    """Write every question and answer to `log.jsonl` in the data folder."""
    rotation: InteractionSettings = InteractionSettings()


def configure_logs(settings: LogSettings) -> None:
    """Set up structlog for this process, and send the standard library's records the same way."""
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        # A machine gets the whole time in UTC, a person at the terminal the time of day.
        structlog.processors.TimeStamper(*(("iso", True) if as_json else ("%H:%M:%S", False))),
        # Formatted here: a renderer's own traceback would show local variables, and after the secrets are hidden.
        structlog.processors.format_exc_info,
        hide_secrets,
    ]
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()]
        if as_json
        else [
            _escape_controls,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    )
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=max(level, logging.WARNING), force=True)


def hide_secrets(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace what looks like a secret, wherever in the event it stands."""
    for name, value in event.items():
        event[name] = _hidden(name, value, _DEPTH)
    return event


def _hidden(name: str, value: Any, depth: int) -> Any:
    if _SECRET_NAMES.search(name) and not isinstance(value, int | float | bool | None):
        return MASK
    match value:
        case str():
            return without_secrets(value)
        case bytes():
            return without_secrets(value.decode("utf-8", "replace"))
        case dict() if depth:
            return {key: _hidden(str(key), inner, depth - 1) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset() if depth:
            return [_hidden("", inner, depth - 1) for inner in value]
        case dict() | list() | tuple() | set() | frozenset():
            return MASK
    return value


def _escape_controls(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep what strangers wrote from moving the cursor or beginning a line of its own."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            lines = value.split("\n") if name == "exception" else [value]
            event[name] = "\n".join(_UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], x) for x in lines)
    return event


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, "library_logged", library=record.name, text=record.getMessage())
