"""Ids of entries of a stream: when each came by Redis' clock, and its number within that millisecond."""

from datetime import UTC, datetime


def entry_order(entry: str) -> tuple[int, int]:
    """Return what sorts entry ids by age."""
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence or 0)


def entry_ms(entry: str) -> int:
    """Tell when an entry came onto its stream, in milliseconds since 1970 by Redis' clock."""
    return entry_order(entry)[0]


def entry_time(entry: str) -> datetime:
    """Tell the same as a moment."""
    return datetime.fromtimestamp(entry_ms(entry) / 1000, UTC)
