"""Structured logs: JSON where a machine reads them, coloured lines on a terminal; never message text or secrets."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from hub.settings import LogSettings

_SECRET_NAMES = re.compile(r"token|secret|password|api_key|authorization|signature", re.IGNORECASE)
_SECRET_VALUES = re.compile(
    r"\b\d{6,12}:[A-Za-z0-9_-]{30,}\b"  # a Telegram bot token
    r"|\bcc_live_[A-Za-z0-9_-]+"  # an API key
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # user and password in a URL
)


def configure_logs(settings: LogSettings) -> None:
    """Set up structlog for this process, and send the standard library's records the same way."""
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        # A machine gets the whole time in UTC, a person at the terminal the time of day.
        structlog.processors.TimeStamper(*(("iso", True) if as_json else ("%H:%M:%S", False))),
        structlog.processors.format_exc_info if as_json else _keep,
        hide_secrets,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
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


def _keep(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return event


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, "library_logged", library=record.name, text=record.getMessage())
