"""How things are at the moment somebody asks: queues, caches, processes and models, as Redis knows them.

Every process with an HTTP server tells the same; what belongs to one process carries its name.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.asyncio import Redis

from hub.bus.bus import INBOUND, Bus, outbound
from hub.bus.cache import CacheCounts, cache_counts
from hub.bus.connection import bus_errors
from hub.bus.entries import entry_ms, entry_order
from hub.bus.keys import Keys
from hub.bus.nodes import servers
from hub.database import DatabaseError
from hub.errors import BusError
from hub.figures import ProcessFigures, processes
from hub.model_states import ModelState, ModelStates

log = structlog.get_logger(__name__)

Positions = Callable[[], Awaitable[Mapping[str, str]]]
"""Tells the last event that was read of each events stream, by the stream's key.

Raises: DatabaseError: it cannot be told."""


@dataclass(slots=True, kw_only=True)
class QueueState:
    """One queue, all its shards together."""

    backlog: int = 0
    pending: int = 0
    consumers: int = 0
    oldest_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class State:
    """What was seen last."""

    is_redis_up: bool = False
    redis_memory_bytes: int = 0
    redis_limit_bytes: int = 0
    queues: dict[str, QueueState] = field(default_factory=dict)
    dead_letters: int = 0
    quarantined: int = 0
    answers: CacheCounts | None = None
    searches: CacheCounts | None = None
    lags_s: dict[str, float] = field(default_factory=dict)
    processes: list[ProcessFigures] = field(default_factory=list)
    models: dict[str, tuple[ModelState, ...]] = field(default_factory=dict)


class StateCollector(Collector):
    """Shows what `look` has seen.

    Args:
        connectors: whose queues are looked at.
    """

    def __init__(self, connectors: Sequence[str]) -> None:
        self._queues = (INBOUND, *(outbound(name) for name in connectors))
        self._state = State()
        self.readers: dict[str, Positions] = {}
        """Who reads the events streams, by name: how far each lags behind is told."""

    async def look(self, bus: Bus) -> None:
        """See how things are; while Redis is away only that is new."""
        self._state.is_redis_up = False
        try:
            self._state = await self._seen(bus)
        except BusError as error:
            log.warning("metrics_not_read", error=str(error))

    async def _seen(self, bus: Bus) -> State:
        client: Any = bus.redis
        with bus_errors("Redis could not be looked at"):
            seconds, micros = await client.time()
            quarantined = await client.xlen(Keys().quarantine)
        used_bytes, limit_bytes = await _memory(bus.redis)
        now_ms = seconds * 1000 + micros // 1000
        return State(
            is_redis_up=True,
            redis_memory_bytes=used_bytes,
            redis_limit_bytes=limit_bytes,
            queues={name: await _queue(bus, name, now_ms) for name in self._queues},
            dead_letters=await bus.dead_letters.count(),
            quarantined=quarantined,
            answers=await cache_counts(bus.redis),
            searches=await cache_counts(bus.redis, "search"),
            lags_s={name: await _lag_s(bus, read, now_ms) for name, read in self.readers.items()},
            processes=await processes(bus.redis),
            models=await ModelStates(bus.redis).by_engine(),
        )

    def describe(self) -> Iterable[Metric]:
        """Name the metrics, with nothing in them."""
        return _families(State())

    def collect(self) -> Iterator[Metric]:
        """Give what was seen."""
        state = self._state
        families = {family.name: family for family in _families(state)}
        _fill_redis(families, state)
        for figures in state.processes:
            _fill_process(families, figures)
        for process, models in state.models.items():
            for model in models:
                _fill_model(families, process, model)
        yield from families.values()


async def _memory(redis: Redis) -> tuple[int, int]:
    """Tell what Redis uses and may use, in bytes; of a Cluster all masters together."""
    found: list[Any] = []
    async with servers(redis) as all_servers:
        for server in all_servers:
            if not server.is_replica:
                client: Any = server.client
                with bus_errors("Redis' memory could not be looked at"):
                    found.append(await client.info("memory"))
    return sum(int(info["used_memory"]) for info in found), sum(int(info["maxmemory"]) for info in found)


async def _queue(bus: Bus, name: str, now_ms: int) -> QueueState:
    found = QueueState()
    for queue in bus.queues(name):
        pipe: Any = bus.redis.pipeline(transaction=False)
        pipe.xlen(queue.stream)
        pipe.xinfo_groups(queue.stream)
        pipe.xrange(queue.stream, count=1)
        with bus_errors("a queue could not be looked at"):
            # A stream that nobody has written to yet has no groups, which is no fault of Redis.
            backlog, groups, oldest = await pipe.execute(raise_on_error=False)
        if isinstance(backlog, Exception):
            raise BusError(f"{name} could not be looked at: {backlog}")
        found.backlog += backlog
        for group in [] if isinstance(groups, Exception) else groups:
            found.pending += group["pending"]
            found.consumers += group["consumers"]
        if oldest and not isinstance(oldest, Exception):
            found.oldest_s = max(found.oldest_s, (now_ms - entry_ms(oldest[0][0].decode())) / 1000)
    return found


async def _lag_s(bus: Bus, read: Positions, now_ms: int) -> float:
    """Tell how old the oldest event is that was not read yet."""
    client: Any = bus.redis
    try:
        positions = await read()
    except DatabaseError as error:
        log.warning("events_lag_unknown", error=str(error))
        return float("nan")
    lag_s = 0.0
    for stream, position in positions.items():
        with bus_errors("the events could not be looked at"):
            newest = await client.xrevrange(stream, count=1)
            if newest and entry_order(newest[0][0].decode()) > entry_order(position):
                following = await client.xrange(stream, min=f"({position}", count=1)
                lag_s = max(lag_s, *((now_ms - entry_ms(one.decode())) / 1000 for one, _ in following), 0.0)
    return lag_s


def _families(state: State) -> list[Metric]:
    process, queue = ("process",), ("process", "queue")
    model = ("process", "model")
    return [
        GaugeMetricFamily("hubbub_redis_up", "1 while Redis answers.", value=int(state.is_redis_up)),
        GaugeMetricFamily("hubbub_redis_memory_bytes", "Memory Redis uses.", value=state.redis_memory_bytes),
        GaugeMetricFamily(
            "hubbub_redis_memory_limit_bytes",
            "Memory Redis may use; 0: no limit.",
            value=state.redis_limit_bytes,
        ),
        GaugeMetricFamily("hubbub_queue_backlog", "Entries that wait or run.", labels=["queue"]),
        GaugeMetricFamily("hubbub_queue_pending", "Entries that were delivered.", labels=["queue"]),
        GaugeMetricFamily("hubbub_queue_consumers", "Members of the consumer group.", labels=["queue"]),
        GaugeMetricFamily("hubbub_queue_oldest_seconds", "Age of the oldest entry.", labels=["queue"]),
        GaugeMetricFamily(
            "hubbub_dead_letters", "Messages no attempt could finish.", value=state.dead_letters
        ),
        GaugeMetricFamily(
            "hubbub_quarantined", "Input no attempt could make valid.", value=state.quarantined
        ),
        GaugeMetricFamily(
            "cache_hits",
            "Look-ups of the answer cache that found one.",
            value=state.answers.hits if state.answers else 0,
        ),
        GaugeMetricFamily(
            "cache_misses",
            "Look-ups of the answer cache that found none.",
            value=state.answers.misses if state.answers else 0,
        ),
        GaugeMetricFamily(
            "hubbub_search_cache_lookups", "Look-ups of the cache of searches.", labels=["outcome"]
        ),
        GaugeMetricFamily(
            "hubbub_events_lag_seconds", "Age of the oldest event not read yet.", labels=["reader"]
        ),
        GaugeMetricFamily("hubbub_process_up", "1 for each process.", labels=["process", "roles"]),
        GaugeMetricFamily("hubbub_process_start_seconds", "When it began, since 1970.", labels=process),
        GaugeMetricFamily("hubbub_process_memory_bytes", "Resident memory.", labels=process),
        CounterMetricFamily("hubbub_process_cpu_seconds", "Time spent computing.", labels=process),
        GaugeMetricFamily("hubbub_turn_slots", "Turns an engine works on at once.", labels=process),
        GaugeMetricFamily("hubbub_leases_held", "Lanes it works on.", labels=queue),
        CounterMetricFamily("hubbub_leases_lost", "Lanes that another process took over.", labels=queue),
        CounterMetricFamily("hubbub_attempts_failed", "Attempts that broke off.", labels=queue),
        CounterMetricFamily("hubbub_reads_failed", "Reads of a stream that failed.", labels=queue),
        CounterMetricFamily("hubbub_spans_exported", "Spans the collector took.", labels=process),
        CounterMetricFamily("hubbub_spans_lost", "Spans the collector did not take.", labels=process),
        GaugeMetricFamily("hubbub_model_loaded", "1 while a model can be asked.", labels=model),
        GaugeMetricFamily("hubbub_model_memory_bytes", "Memory it takes.", labels=model),
        GaugeMetricFamily("hubbub_model_requests", "Requests it has.", labels=(*model, "state")),
        CounterMetricFamily("hubbub_model_tokens", "Tokens since it was loaded.", labels=(*model, "kind")),
        CounterMetricFamily("hubbub_model_steps", "Computations since it was loaded.", labels=model),
        CounterMetricFamily(
            "hubbub_model_step_requests", "Requests that took part in them, added up.", labels=model
        ),
        CounterMetricFamily("hubbub_model_busy_seconds", "Time spent in them.", labels=model),
    ]


Families = Mapping[str, Any]


def _fill_redis(families: Families, state: State) -> None:
    for name, queue in state.queues.items():
        families["hubbub_queue_backlog"].add_metric((name,), queue.backlog)
        families["hubbub_queue_pending"].add_metric((name,), queue.pending)
        families["hubbub_queue_consumers"].add_metric((name,), queue.consumers)
        families["hubbub_queue_oldest_seconds"].add_metric((name,), queue.oldest_s)
    if state.searches:
        families["hubbub_search_cache_lookups"].add_metric(("hit",), state.searches.hits)
        families["hubbub_search_cache_lookups"].add_metric(("miss",), state.searches.misses)
    for reader, lag_s in state.lags_s.items():
        families["hubbub_events_lag_seconds"].add_metric((reader,), lag_s)


def _fill_process(families: Families, figures: ProcessFigures) -> None:
    name = (figures.process,)
    families["hubbub_process_up"].add_metric((figures.process, figures.roles), 1)
    families["hubbub_process_start_seconds"].add_metric(name, figures.began_s)
    families["hubbub_process_memory_bytes"].add_metric(name, figures.memory_bytes)
    families["hubbub_process_cpu_seconds"].add_metric(name, figures.cpu_s)
    if figures.turn_slots:
        families["hubbub_turn_slots"].add_metric(name, figures.turn_slots)
    for kind in ("leases_held", "leases_lost", "attempts_failed", "reads_failed"):
        for queue, number in getattr(figures, kind).items():
            families[f"hubbub_{kind}"].add_metric((figures.process, queue), number)
    families["hubbub_spans_exported"].add_metric(name, figures.spans_exported)
    families["hubbub_spans_lost"].add_metric(name, figures.spans_lost)


def _fill_model(families: Families, process: str, model: ModelState) -> None:
    labels = (process, model.name)
    families["hubbub_model_loaded"].add_metric(labels, int(model.state == "loaded"))
    families["hubbub_model_memory_bytes"].add_metric(labels, model.memory_bytes)
    for state in ("running", "waiting"):
        families["hubbub_model_requests"].add_metric((*labels, state), getattr(model, state))
    for kind in ("prompt", "answer", "cached"):
        families["hubbub_model_tokens"].add_metric((*labels, kind), getattr(model, f"{kind}_tokens"))
    families["hubbub_model_steps"].add_metric(labels, model.steps)
    families["hubbub_model_step_requests"].add_metric(labels, model.step_requests)
    families["hubbub_model_busy_seconds"].add_metric(labels, model.busy_s)
