"""What the rest of the hub knows of spans, and the ones that record nothing.

A span holds numbers, names of the hub's own and ids of turns: never a text, a person or a secret.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Kind = Literal["server", "consumer", "producer", "internal"]
Value = str | int | float | bool


class Span:
    """One step of a message; this one records nothing."""

    trace_id = ""
    """32 hexadecimal digits; empty where nothing is traced."""

    @property
    def in_log(self) -> dict[str, str]:
        """What a line of the log names it by; nothing where nothing is traced."""
        return {"trace": self.trace_id} if self.trace_id else {}

    @property
    def carrier(self) -> dict[str, str]:
        """What a message carries, so that another process continues the trace: W3C `traceparent` and `tracestate`."""
        return {}

    def child(self, name: str, *, began_ns: int | None = None) -> "Span":
        """Begin a step within this one.

        Args:
            began_ns: nanoseconds since 1970; now when it is not given.
        """
        return self

    def set(self, **attributes: Value) -> None:
        """Tell something about the step."""

    def end(self, error: str = "") -> None:
        """End it, once.

        Args:
            error: the kind of what went wrong, such as the name of an exception; never its text.
        """


NO_SPAN = Span()


class Traces:
    """The traces of one process; these record nothing."""

    is_on = False

    def begin(
        self,
        name: str,
        *,
        kind: Kind,
        carrier: Mapping[str, str] | None = None,
        began_ns: int | None = None,
    ) -> Span:
        """Begin a span: a part of the trace that a message carries, else the first of its own trace."""
        return NO_SPAN

    def counts(self) -> Mapping[str, int]:
        """Count the spans that were `exported`, and those that were `lost` because the collector was away."""
        return {}

    async def close(self) -> None:
        """Send what is left, for a moment at most."""


NO_TRACES = Traces()

_CURRENT: ContextVar[Span] = ContextVar("hubbub_span", default=NO_SPAN)


@contextmanager
def inside(span: Span) -> Iterator[None]:
    """Let `step` begin steps of this span while the block runs, also in tasks that it starts."""
    token = _CURRENT.set(span)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@contextmanager
def attempting(span: Span) -> Iterator[None]:
    """Let `step` begin steps of an attempt's span while the block runs; what breaks it off ends the span."""
    with inside(span):
        try:
            yield
        except BaseException as error:
            span.end(type(error).__name__)
            raise


def step(name: str) -> Span:
    """Begin a step of the message that is worked on; whoever begins it ends it."""
    return _CURRENT.get().child(name)


@contextmanager
def timed(name: str) -> Iterator[Span]:
    """Let a step last as long as the block."""
    span = step(name)
    try:
        yield span
    except BaseException as error:
        span.end(type(error).__name__)
        raise
    span.end()
