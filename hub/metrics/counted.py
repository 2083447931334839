"""What one process counts: its own requests, and what all workers and senders report."""

from collections.abc import Sequence
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from hub.events import DeliveryEvent, FeedbackEvent, TurnEvent
from hub.metrics.state import StateCollector

_HTTP_BUCKETS_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120)
_TURN_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80, 160)
_STEP_BUCKETS_S = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80)
CONNECTORS = ("api", "web", "telegram", "email")
MOST_VALUES = 100
"""Of a label whose values come from events; further ones are counted together as `other`."""


class Bounded:
    """Keeps the values of a label few, whatever an event says."""

    def __init__(self, most: int = MOST_VALUES) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return the value, or `other` once there are too many."""
        if value not in self._known:
            if len(self._known) >= self._most:
                return "other"
            self._known.add(value)
        return value


class Metrics:
    """One process' metrics; each owns its registry, nothing is global.

    Args:
        connectors: whose queues are looked at.
    """

    def __init__(self, connectors: Sequence[str] = CONNECTORS) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.state = StateCollector(connectors)
        self.registry.register(self.state)
        self._connector, self._model, self._word, self._tier = (Bounded() for _ in range(4))
        self._make_http()
        self._make_turns()
        self._make_models()
        self._make_deliveries()
        self.build = Gauge("hubbub_build_info", "Always 1.", ("version",), registry=self.registry)
        self.build.labels(version("hubbub")).set(1)

    def request_answered(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count one HTTP request; `route` is the pattern, never the path itself."""
        self.requests.labels(method, route, str(status)).inc()
        self.request_seconds.labels(route).observe(duration_s)

    def key_used(self, tier: str, outcome: str) -> None:
        """Count one request by the tier of its key; `outcome` is `accepted`, `limited` or `refused`."""
        self.key_requests.labels(self._tier(tier), outcome).inc()

    def turn_ended(self, event: TurnEvent) -> None:
        """Count one turn."""
        connector = self._connector(event.connector)
        route = self._word(event.route)
        self.turns.labels(connector, route, event.kind_of_answer).inc()
        self.turn_seconds.labels(route).observe(event.turn_ms / 1000)
        self.queue_seconds.labels(connector).observe(event.queue_ms / 1000)
        for name in ("recall", "retrieve", "generate", "check"):
            if took_ms := getattr(event, f"{name}_ms"):
                self.step_seconds.labels(name).observe(took_ms / 1000)
        if event.attempts > 1:
            self.repeats.labels(connector).inc(event.attempts - 1)
        if event.kind_of_answer == "error":
            self.errors.labels(connector, self._word(event.code)).inc()
        if event.flagged:
            self.flagged.labels(connector).inc(event.flagged)
        self.last_latency.set((event.queue_ms + event.turn_ms) / 1000)
        if event.model:
            self._model_asked(event)

    def _model_asked(self, event: TurnEvent) -> None:
        model, tier = self._model(event.model), self._tier(event.tier)
        for kind in ("prompt", "answer", "cached"):
            count = getattr(event, f"{kind}_tokens")
            self.tokens.labels(model, kind).inc(count)
            if event.tier:
                self.key_tokens.labels(tier, kind).inc(count)
        if event.first_token_ms:
            self.first_token_seconds.labels(model).observe(event.first_token_ms / 1000)
        self.inferences.inc()

    def delivery_ended(self, event: DeliveryEvent) -> None:
        """Count the end of one reply's delivery."""
        connector = self._connector(event.connector)
        self.deliveries.labels(connector, event.state).inc()
        self.delivery_seconds.labels(connector).observe(event.wait_ms / 1000)
        if event.unclear:
            self.unclear_sends.labels(connector).inc()

    def judged(self, event: FeedbackEvent) -> None:
        """Count one judgement; one that is taken back stays counted."""
        self.feedback.labels(self._connector(event.connector), event.value).inc()

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
        self.key_requests = Counter(
            "hubbub_key_requests",
            "Requests with an API key, by its tier and what became of them.",
            ("tier", "outcome"),
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
        self.step_seconds = Histogram(
            "hubbub_turn_step_seconds",
            "Time a turn took for each of its steps.",
            ("step",),
            buckets=_STEP_BUCKETS_S,
            registry=registry,
        )
        self.repeats = Counter(
            "hubbub_turn_repeats", "Attempts beyond a turn's first one.", ("connector",), registry=registry
        )
        self.errors = Counter(
            "hubbub_turn_errors",
            "Messages that were answered with an error.",
            ("connector", "code"),
            registry=registry,
        )
        self.flagged = Counter(
            "hubbub_flagged_sentences",
            "Sentences of documents, attachments and quoted mail that addressed the model.",
            ("connector",),
            registry=registry,
        )
        self.last_latency = Gauge(
            "last_latency", "Seconds from arrival to commit of the latest turn.", registry=registry
        )

    def _make_models(self) -> None:
        registry = self.registry
        # A gauge, as `last_latency`: a Counter would be given the suffix _total, and these names are fixed.
        self.inferences = Gauge("inference_count", "Turns a model was asked in.", registry=registry)
        self.tokens = Counter(
            "hubbub_tokens", "Tokens read and written.", ("model", "kind"), registry=registry
        )
        self.first_token_seconds = Histogram(
            "hubbub_first_token_seconds",
            "Time from the start of a generation to its first token.",
            ("model",),
            buckets=_STEP_BUCKETS_S,
            registry=registry,
        )
        self.key_tokens = Counter(
            "hubbub_key_tokens",
            "Tokens read and written for API keys, by their tier.",
            ("tier", "kind"),
            registry=registry,
        )

    def _make_deliveries(self) -> None:
        registry = self.registry
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
        self.unclear_sends = Counter(
            "hubbub_unclear_sends",
            "Replies of which a part may stand twice, because a sender died.",
            ("connector",),
            registry=registry,
        )
