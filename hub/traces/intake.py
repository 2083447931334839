"""When the request began that a message comes with, and which trace its caller named."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

MOST_CHARS = {"traceparent": 256, "tracestate": 512}
"""Source: W3C Trace Context, section 3.3.1.5: at least 512 characters of `tracestate` should be passed on."""


@dataclass(slots=True)
class Intake:
    """One request from outside."""

    began_ns: int
    carrier: dict[str, str] = field(default_factory=dict)
    is_over: bool = False
    """Tasks that outlive their request do not count for it any more."""


_INTAKE: ContextVar[Intake | None] = ContextVar("hubbub_intake", default=None)


@contextmanager
def taking_in(headers: Mapping[str, str]) -> Iterator[None]:
    """Note that a request has come; what is published while the block runs began with it."""
    given = {name: headers.get(name, "") for name in MOST_CHARS}
    carrier = {name: value for name, value in given.items() if 0 < len(value) <= MOST_CHARS[name]}
    intake = Intake(time.time_ns(), carrier if "traceparent" in carrier else {})
    token = _INTAKE.set(intake)
    try:
        yield
    finally:
        intake.is_over = True
        _INTAKE.reset(token)


def caller_trace() -> dict[str, str]:
    """Return the trace that the caller of the running request goes on with; only for callers that were checked."""
    intake = _INTAKE.get()
    return {} if intake is None or intake.is_over else dict(intake.carrier)


def began_ns() -> int | None:
    """Tell when the running request began, in nanoseconds since 1970; None where there is none."""
    intake = _INTAKE.get()
    return None if intake is None or intake.is_over else intake.began_ns
