"""What a look of the doctor found."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from hub.settings import Settings

State = Literal["ok", "off", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one look found."""

    part: str
    state: State
    """`warn`: it works, but not as it should; `fail`: it does not work."""
    text: str
    advice: str = ""
    """A command to run or a setting to change; never empty where something is wrong."""


Check = Callable[[Settings], Awaitable[list[Finding]]]


def ok(part: str, text: str) -> Finding:
    """Tell that something is well."""
    return Finding(part=part, state="ok", text=text)


def warn(part: str, text: str, advice: str) -> Finding:
    """Tell that something works, but not as it should."""
    return Finding(part=part, state="warn", text=text, advice=advice)


def fail(part: str, text: str, advice: str) -> Finding:
    """Tell that something does not work."""
    return Finding(part=part, state="fail", text=text, advice=advice)
