"""Spans that are recorded by OpenTelemetry and sent to a collector by OTLP over HTTP, from a thread of their own."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hub.trace_settings import TraceSettings
from hub.traces.spans import Kind, Span, Traces, Value

log = structlog.get_logger(__name__)

CLOSE_TIMEOUT_S = 2.0
"""For what is left when a process ends; a collector that is away must not hold up a restart."""
QUEUE_SPANS = 4096
"""Spans that wait for the collector; further ones are dropped."""
BATCH_SPANS = 512
EXPORT_EVERY_S = 1.0
_KINDS = {
    "server": SpanKind.SERVER,
    "consumer": SpanKind.CONSUMER,
    "producer": SpanKind.PRODUCER,
    "internal": SpanKind.INTERNAL,
}
_PROPAGATOR = TraceContextTextMapPropagator()


class _CountingExporter(SpanExporter):
    """Sends spans, and says once when the collector goes away and once when it is back."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_away = False
        self.exported = 0
        self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send some spans; waits for the collector, in the exporter's own thread."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
        else:
            self.lost += len(spans)
        if self._is_away != (is_away := result is not SpanExportResult.SUCCESS):
            self._is_away = is_away
            log.warning("trace_collector_away" if is_away else "trace_collector_back", lost=self.lost)
        return result

    def shutdown(self) -> None:
        """Send no more, and break off what is being sent again."""
        self._exporter.shutdown()


class _Processor(BatchSpanProcessor):
    """Hands spans to the exporter's thread; those that find the line full are dropped and counted."""

    def __init__(self, exporter: SpanExporter) -> None:
        super().__init__(
            exporter,
            max_queue_size=QUEUE_SPANS,
            max_export_batch_size=BATCH_SPANS,
            schedule_delay_millis=EXPORT_EVERY_S * 1000,
        )
        self._batch: Any = self._batch_processor
        self.dropped = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that has ended; never waits."""
        self.dropped += len(self._batch._queue) >= QUEUE_SPANS
        super().on_end(span)

    def close(self) -> None:
        """Send what is left within CLOSE_TIMEOUT_S; the library's own would wait for half a minute."""
        self._batch.shutdown(round(CLOSE_TIMEOUT_S * 1000))


class OtlpSpan(Span):
    """One step of a message."""

    def __init__(self, tracer: Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        self.trace_id = format_trace_id(span.get_span_context().trace_id)

    @property
    def carrier(self) -> dict[str, str]:
        """Return what continues the trace from this span."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, context=trace.set_span_in_context(self._span))
        return carrier

    def child(self, name: str, *, began_ns: int | None = None) -> Span:
        """Begin a step within this one."""
        context = trace.set_span_in_context(self._span)
        return OtlpSpan(self._tracer, self._tracer.start_span(name, context, start_time=began_ns))

    def set(self, **attributes: Value) -> None:
        """Tell something about the step."""
        for name, value in attributes.items():
            self._span.set_attribute(f"hubbub.{name}", value)

    def end(self, error: str = "") -> None:
        """End it."""
        if error:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


class OtlpTraces(Traces):
    """The traces of one process."""

    is_on = True

    def __init__(self, settings: TraceSettings, roles: str) -> None:
        # The exporter tells of every failure, with what the collector answered; we count them.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = _CountingExporter(
            OTLPSpanExporter(
                endpoint=settings.endpoint,
                headers=_headers(settings),
                timeout=settings.timeout_s,
            )
        )
        # Not `Resource.create`: nothing of the machine or its environment goes along unasked.
        resource = Resource(
            {
                "service.name": settings.service_name,
                "service.version": version("hubbub"),
                "hubbub.roles": roles,
            }
        )
        sampler = ParentBased(TraceIdRatioBased(settings.sample_ratio))
        self._provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        self._processor = _Processor(self._exporter)
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("hubbub")

    def begin(
        self,
        name: str,
        *,
        kind: Kind,
        carrier: Mapping[str, str] | None = None,
        began_ns: int | None = None,
    ) -> Span:
        """Begin a span of the trace that a message carries, else of a new one; a carrier nobody can read counts for none."""
        context = _PROPAGATOR.extract(carrier or {}, context=trace.set_span_in_context(trace.INVALID_SPAN))
        span = self._tracer.start_span(name, context, kind=_KINDS[kind], start_time=began_ns)
        return OtlpSpan(self._tracer, span)

    def counts(self) -> Mapping[str, int]:
        """Count the spans that were sent and those that were lost."""
        return {"exported": self._exporter.exported, "lost": self._exporter.lost + self._processor.dropped}

    async def close(self) -> None:
        """Send what is left, for a moment at most."""
        await asyncio.to_thread(self._processor.close)


def _headers(settings: TraceSettings) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in settings.headers.get_secret_value().split(",") if pair.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}
