"""What the hub counts, in Prometheus' text format; the names are described in docs/metrics.md."""

import asyncio

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from redis.asyncio import Redis

from hub.bus.keys import Keys
from hub.bus.tail import Tail
from hub.events import DeliveryEvent, FeedbackEvent, TurnEvent, parse_event

log = structlog.get_logger(__name__)

_HTTP_BUCKETS_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120)
_TURN_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80, 160)


class Metrics:
    """One process' counters; each owns its registry, nothing is global."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._make_http()
        self._make_turns()
        self._make_state()

    def request_answered(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count one HTTP request; `route` is the pattern, never the path itself."""
        self.requests.labels(method, route, str(status)).inc()
        self.request_seconds.labels(route).observe(duration_s)

    def turn_ended(self, event: TurnEvent) -> None:
        """Count one turn."""
        self.turns.labels(event.connector, event.route, event.kind_of_answer).inc()
        self.turn_seconds.labels(event.route).observe(event.turn_ms / 1000)
        self.queue_seconds.labels(event.connector).observe(event.queue_ms / 1000)
        if event.flagged:
            self.flagged.labels(event.connector).inc(event.flagged)
        self.last_latency.set((event.queue_ms + event.turn_ms) / 1000)
        if event.model:
            self.tokens.labels(event.model, "prompt").inc(event.prompt_tokens)
            self.tokens.labels(event.model, "answer").inc(event.answer_tokens)
            self.tokens.labels(event.model, "cached").inc(event.cached_tokens)
            self.inferences.inc()

    def delivery_ended(self, event: DeliveryEvent) -> None:
        """Count the end of one reply's delivery."""
        self.deliveries.labels(event.connector, event.state).inc()
        self.delivery_seconds.labels(event.connector).observe(event.wait_ms / 1000)
        if event.unclear:
            self.unclear_sends.labels(event.connector).inc()

    def judged(self, event: FeedbackEvent) -> None:
        """Count one judgement; one that is taken back stays counted."""
        self.feedback.labels(event.connector, event.value).inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format 0.0.4."""
        return generate_latest(self.registry)

    def _make_http(self) -> None:
        self.requests = Counter(
            "hubbub_http_requests",
            "HTTP requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "hubbub_http_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("route",),
            buckets=_HTTP_BUCKETS_S,
            registry=self.registry,
        )

    def _make_turns(self) -> None:
        registry = self.registry
        self.turns = Counter(
            "hubbub_turns",
            "Messages answered or explained.",
            ("connector", "route", "kind"),
            registry=registry,
        )
        self.turn_seconds = Histogram(
            "hubbub_turn_seconds",
            "Time a worker took for a turn.",
            ("route",),
            buckets=_TURN_BUCKETS_S,
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "hubbub_queue_seconds",
            "Time a message waited for its turn.",
            ("connector",),
            buckets=_TURN_BUCKETS_S,
            registry=registry,
        )
        self.tokens = Counter(
            "hubbub_tokens", "Tokens read and written.", ("model", "kind"), registry=registry
        )
        self.deliveries = Counter(
            "hubbub_deliveries", "Replies whose delivery ended.", ("connector", "state"), registry=registry
        )
        self.delivery_seconds = Histogram(
            "hubbub_delivery_seconds",
            "Time from a reply's creation to the end of its delivery.",
            ("connector",),
            buckets=_TURN_BUCKETS_S,
            registry=registry,
        )
        self.feedback = Counter(
            "hubbub_feedback",
            "Judgements of answers; who changes their mind is counted again.",
            ("connector", "value"),
            registry=registry,
        )
        self.flagged = Counter(
            "hubbub_flagged_sentences",
            "Sentences of documents, attachments and quoted mail that addressed the model.",
            ("connector",),
            registry=registry,
        )
        self.unclear_sends = Counter(
            "hubbub_unclear_sends",
            "Replies of which a part may stand twice, because a sender died.",
            ("connector",),
            registry=registry,
        )
        # Gauges: a Counter would be given the suffix _total, and these names are fixed.
        self.inferences = Gauge("inference_count", "Turns a model was asked in.", registry=registry)
        self.last_latency = Gauge(
            "last_latency", "Seconds from arrival to commit of the latest turn.", registry=registry
        )

    def _make_state(self) -> None:
        self.redis_up = Gauge("hubbub_redis_up", "1 while Redis answers.", registry=self.registry)
        self.backlog = Gauge(
            "hubbub_queue_backlog", "Entries that wait or run.", ("queue",), registry=self.registry
        )
        self.cache_hits = Gauge(
            "cache_hits", "Look-ups of the answer cache that found one.", registry=self.registry
        )
        self.cache_misses = Gauge(
            "cache_misses", "Look-ups of the answer cache that found none.", registry=self.registry
        )
        self.search_cache = Gauge(
            "hubbub_search_cache_lookups",
            "Look-ups of the cache of searches, by whether they found one.",
            ("outcome",),
            registry=self.registry,
        )
        self.dead_letters = Gauge(
            "hubbub_dead_letters", "Messages no attempt could finish.", registry=self.registry
        )


class EventMetrics:
    """Counts what workers and senders report on the events streams, from the moment it starts.

    Args:
        redis: for short commands.
        reader: a client of its own, closed at the end of `run`.
    """

    def __init__(self, redis: Redis, reader: Redis, metrics: Metrics, *, shards: int = 1) -> None:
        self._metrics = metrics
        events = [Keys(shard).events for shard in range(shards)]
        self._tail = Tail(redis, reader, events, name="events")

    @property
    def ready(self) -> asyncio.Event:
        """Set once everything that happens from now on is counted."""
        return self._tail.ready

    async def run(self, stop: asyncio.Event) -> None:
        """Count until `stop` is set."""
        await self._tail.run(self._count, stop)

    def _count(self, fields: dict[bytes, bytes]) -> None:
        match parse_event(fields):
            case TurnEvent() as turn:
                self._metrics.turn_ended(turn)
            case DeliveryEvent() as delivery:
                self._metrics.delivery_ended(delivery)
            case FeedbackEvent() as feedback if feedback.value:
                self._metrics.judged(feedback)
