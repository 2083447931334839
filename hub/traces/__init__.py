"""Traces: one trace id from a message's intake, across the streams and the engine, to the sending of its reply.

What stands here costs nothing while traces are off: OpenTelemetry's tracer and exporter are imported by `hub.traces.otlp`
alone.
"""

from hub.trace_settings import TraceSettings
from hub.traces.spans import NO_SPAN, NO_TRACES, Kind, Span, Traces, attempting, inside, step, timed

__all__ = [
    "NO_SPAN",
    "NO_TRACES",
    "Kind",
    "Span",
    "Traces",
    "attempting",
    "inside",
    "open_traces",
    "step",
    "timed",
]


def open_traces(settings: TraceSettings, roles: str) -> Traces:
    """Return the traces of a process; those that record nothing where no collector is set.

    Args:
        roles: what the process is, told with every span.
    """
    if not settings.endpoint:
        return NO_TRACES
    from hub.traces.otlp import OtlpTraces  # noqa: PLC0415

    return OtlpTraces(settings, roles)
