"""Structured logs: JSON where a machine reads them, coloured lines on a terminal; never message text or secrets."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from hub.model_settings import Table

_SECRET_NAMES = re.compile(r"token|secret|password|api_key|authorization|signature", re.IGNORECASE)
_SECRET_VALUES = re.compile(
    r"(?<!\d)\d{6,12}:[A-Za-z0-9_-]{30,}"  # a Telegram bot token, in URLs right behind "bot"
    r"|\bcc_live_[A-Za-z0-9_-]+"  # an API key
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # user and password in a URL
)

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class LogSettings(Table):
    """Logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """`auto`: coloured lines on a terminal, JSON elsewhere."""
    interactions: bool = False
    """Write every question and answer to `log.jsonl` in the data folder."""


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
        if _SECRET_NAMES.search(name) and not isinstance(value, int | float | bool):
            event[name] = "***"
        elif isinstance(value, str):
            event[name] = _SECRET_VALUES.sub("***", value)
    return event


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
