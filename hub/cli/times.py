"""How an operator writes spans of time and moments in the terminal."""

import re
from datetime import UTC, datetime, timedelta

from hub.errors import HubError
from hub.messages import utc_now

_SPAN = re.compile(r"(\d{1,5})([mhd])", re.ASCII)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def read_span(text: str) -> timedelta:
    """Read a span of time such as `30m`, `24h` or `7d`; `0` is none.

    Raises: HubError: it is no span.
    """
    if text.strip() == "0":
        return timedelta(0)
    if found := _SPAN.fullmatch(text.strip()):
        return int(found[1]) * _UNITS[found[2]]
    raise HubError(f"expected a span of time such as 30m, 24h or 7d, found {text!r}")


def read_time(text: str) -> datetime | None:
    """Read a moment: ISO 8601, in UTC where it names no zone, or how long ago, such as `90m`, `24h` or `7d`.

    Returns: None where the text is empty.
    Raises: HubError: it is no moment.
    """
    if not text:
        return None
    if _SPAN.fullmatch(text):
        return utc_now() - read_span(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise HubError(f"expected a time such as 2026-01-31T12:00 or 24h, found {text!r}") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
