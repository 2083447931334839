"""How spans of time and moments are written in the terminal."""

from datetime import timedelta

import pytest

from hub.cli.times import read_time
from hub.errors import HubError
from hub.messages import utc_now


def test_times_are_read() -> None:
    """A moment, in UTC where it names no zone, or how long ago."""
    assert read_time("") is None
    at = read_time("2026-01-31T12:00")
    assert at is not None
    assert at.isoformat() == "2026-01-31T12:00:00+00:00"
    ago = read_time("90m")
    assert ago is not None
    assert timedelta(minutes=89) < utc_now() - ago < timedelta(minutes=91)
    with pytest.raises(HubError, match="expected a time"):
        read_time("yesterday")
