"""Tries each kind of calculation on a question; all of it must be understood, or nothing is computed."""

from datetime import UTC, datetime

from engine.symbolic.arithmetic import solve_arithmetic
from engine.symbolic.calendar import solve_calendar
from engine.symbolic.computed import Computed
from engine.symbolic.durations import solve_duration
from engine.symbolic.framing import unframed
from engine.symbolic.percentages import solve_percentage
from engine.symbolic.units import solve_units
from engine.symbolic.zones import solve_zones

MAX_QUESTION_CHARS = 300
"""A longer one is no mere calculation, and patterns take their time on long texts."""


def compute(question: str, now: datetime, language: str = "") -> Computed | None:
    """Compute what a question asks for.

    Args:
        question: one sentence.
        now: aware; what "today" means, in UTC.
        language: BCP 47 tag of the message; tells how its numbers are written.

    Returns: None where it asks for something else, or could mean two things.
    """
    if len(question) > MAX_QUESTION_CHARS:
        return None
    asked = unframed(question, language)
    if not asked.text:
        return None
    today = now.astimezone(UTC).date()
    return (
        solve_percentage(asked)
        or solve_duration(asked)
        or solve_units(asked)
        or solve_calendar(asked, today)
        or solve_zones(asked, now)
        or solve_arithmetic(asked)
    )
