"""What is told of queues, processes and models: each process once, whoever is asked, and gone when it has ended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from hub.bus.bus import INBOUND, Bus
from hub.bus.consumer import ConsumerOptions
from hub.bus.heartbeat import beat, told
from hub.bus.keys import Keys
from hub.bus.queue import Commit, Lease
from hub.events import DeliveryEvent, TurnEvent
from hub.figures import ROLE, Figures, processes
from hub.messages import Address, InboundMessage
from hub.metrics import Metrics
from hub.model_states import ModelState, ModelStates
from hub.settings import BusSettings
from tests.servers.redis import RedisServer

ADDRESS = Address(connector="web", account="hub", chat="v", person="v")


@pytest.fixture
async def bus(redis_server: RedisServer, redis: Redis) -> AsyncIterator[Bus]:
    """A bus over an empty Redis, of a process with the HTTP server."""
    bus = Bus(redis_server.url, BusSettings())
    yield bus
    await bus.close()


@contextlib.asynccontextmanager
async def process(url: str, role: str, models: tuple[ModelState, ...] = ()) -> AsyncIterator[Bus]:
    """Let another process tell of itself while the block lasts."""
    other, stop = Bus(url, BusSettings()), asyncio.Event()
    figures = Figures(other, [role], turn_slots=64 if role == "engine" else 0)
    beating = asyncio.create_task(beat(other.redis, ROLE, stop, figures.news))
    states = ModelStates(other.redis, other.process)
    await states.write(models)
    async with asyncio.timeout(10):
        while other.process not in [one.process for one in await processes(other.redis)]:
            await asyncio.sleep(0.01)
    try:
        yield other
    finally:
        stop.set()
        await beating
        await states.withdraw()
        await other.close()


async def seen(metrics: Metrics, bus: Bus) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Scrape: the value of each series by its name and labels."""
    await metrics.state.look(bus)
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def of(
    series: Mapping[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str
) -> float | None:
    """Give the value of one series; None where it is not there."""
    return series.get((name, frozenset(labels.items())))


def message(number: int) -> InboundMessage:
    """Make a message."""
    return InboundMessage(external_key=f"k{number}", conversation=f"web-{number}", address=ADDRESS, text="hi")


async def test_several_engines_and_hubs_are_each_seen_once(redis_server: RedisServer, bus: Bus) -> None:
    """Whichever hub is asked tells the same of all, and what has ended is gone at once."""
    model = ModelState(name="m", type="gguf", context_length=512, state="loaded", running=2, steps=10)
    model = model.model_copy(update={"step_requests": 40, "memory_bytes": 7, "prompt_tokens": 90})
    one_hub, other_hub = Metrics(), Metrics()
    async with process(redis_server.url, "engine", (model,)) as first:
        async with process(redis_server.url, "engine", (model,)) as second:
            series, again = await seen(one_hub, bus), await seen(other_hub, bus)
        after = await seen(one_hub, bus)

    for engine in (first.process, second.process):
        assert of(series, "hubbub_process_up", process=engine, roles="engine") == 1
        assert (of(series, "hubbub_process_memory_bytes", process=engine) or 0) > 1e6
        assert of(series, "hubbub_turn_slots", process=engine) == 64
        assert of(series, "hubbub_model_loaded", process=engine, model="m") == 1
        assert of(series, "hubbub_model_requests", process=engine, model="m", state="running") == 2
        assert of(series, "hubbub_model_steps_total", process=engine, model="m") == 10
        assert of(series, "hubbub_model_step_requests_total", process=engine, model="m") == 40
        assert of(series, "hubbub_model_tokens_total", process=engine, model="m", kind="prompt") == 90
    shared = {key for key in series if key[0].startswith(("hubbub_model", "hubbub_process_up"))}
    assert {key: series[key] for key in shared} == {key: again[key] for key in shared}
    assert of(after, "hubbub_process_up", process=first.process, roles="engine") == 1
    assert not [key for key in after if ("process", second.process) in key[1]]


async def test_what_goes_wrong_in_an_engine_is_counted_there(bus: Bus) -> None:
    """Leases, and attempts that broke off, by queue."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def handle(lease: Lease) -> Commit:
        inside.set()
        await go.wait()
        if lease.attempts == 1:
            raise RuntimeError("it broke")
        return Commit()

    options = ConsumerOptions(backoff_s=0.01)
    (consumer,) = bus.consumers(INBOUND, handle=handle, bury=handle, options=options)
    stop = asyncio.Event()
    working = asyncio.create_task(consumer.run(stop))
    await bus.publish(message(1))
    async with asyncio.timeout(10):
        await inside.wait()
    held = Figures(bus, ["engine"]).look().leases_held
    go.set()
    async with asyncio.timeout(10):
        while await bus.backlog():
            await asyncio.sleep(0.01)
    stop.set()
    await working
    figures = Figures(bus, ["engine"]).look()

    assert held == {"inbound": 1}
    assert (figures.leases_held, figures.attempts_failed) == ({"inbound": 0}, {"inbound": 1})


async def test_queues_tell_what_waits_and_for_how_long(bus: Bus, redis: Redis) -> None:
    """All shards together; a queue that nobody has used is empty."""
    client: Any = redis
    for number in range(3):
        await bus.publish(message(number))
    await client.xgroup_create(Keys().stream(INBOUND), "engine", id="0")
    await client.xreadgroup("engine", "worker", {Keys().stream(INBOUND): ">"}, count=2)
    # An hour old, by its id.
    seconds = (await client.time())[0]
    await client.xadd(Keys().stream("outbound:mine"), {"lane": "c"}, id=f"{(seconds - 3600) * 1000}-0")

    series = await seen(Metrics(["web", "mine"]), bus)

    assert of(series, "hubbub_queue_backlog", queue="inbound") == 3
    assert of(series, "hubbub_queue_pending", queue="inbound") == 2
    assert of(series, "hubbub_queue_consumers", queue="inbound") == 1
    assert 0 <= (of(series, "hubbub_queue_oldest_seconds", queue="inbound") or 0) < 60
    assert 3590 < (of(series, "hubbub_queue_oldest_seconds", queue="outbound:mine") or 0) < 3700
    assert of(series, "hubbub_queue_backlog", queue="outbound:web") == 0
    assert (of(series, "hubbub_redis_memory_bytes") or 0) > 1000


async def test_lag_is_the_age_of_what_was_not_read(bus: Bus, redis: Redis) -> None:
    """Not the distance between two events: a reader that has read all does not lag, however old its last one."""
    client: Any = redis
    seconds = (await client.time())[0]
    first, second = f"{(seconds - 3600) * 1000}-0", f"{(seconds - 60) * 1000}-0"
    for entry in (first, second):
        await client.xadd(Keys().events, {"kind": "x"}, id=entry)
    metrics = Metrics()

    def reader(position: str) -> Any:
        async def positions() -> dict[str, str]:
            return {Keys().events: position}

        return positions

    metrics.state.readers |= {"behind": reader(first), "done": reader(second), "new": reader("0-0")}
    series = await seen(metrics, bus)

    assert 59 <= (of(series, "hubbub_events_lag_seconds", reader="behind") or 0) < 120
    assert of(series, "hubbub_events_lag_seconds", reader="done") == 0
    assert 3599 <= (of(series, "hubbub_events_lag_seconds", reader="new") or 0) < 3700


async def test_figures_nobody_can_read_hide_no_others(bus: Bus, redis_server: RedisServer) -> None:
    """Such as those of a version to come."""
    client: Any = bus.redis
    async with process(redis_server.url, "telegram") as other:
        await client.zadd(Keys().alive(ROLE), {"odd": 4e9})
        await client.hset(Keys().told(ROLE), "odd", "no json")
        assert b"no json" in await told(bus.redis, ROLE)

        assert [one.process for one in await processes(bus.redis)] == [other.process]


def test_labels_stay_few_whatever_events_say() -> None:
    """A hundred values of each; the rest is counted together, and nothing is lost."""
    metrics = Metrics()
    for number in range(1000):
        name = f"n{number}"
        event = TurnEvent(
            connector=name,
            route=name,
            model=name,
            tier=name,
            code=name,
            kind_of_answer="error",
            queue_ms=1,
            turn_ms=1,
        )
        metrics.turn_ended(
            event.model_copy(update={"prompt_tokens": 1, "first_token_ms": 5.0, "attempts": 2})
        )
        metrics.delivery_ended(DeliveryEvent(connector=name, state="placed", wait_ms=1))
        metrics.key_used(name, "accepted")

    lines = metrics.text().decode().splitlines()
    for name in ("hubbub_tokens_total", "hubbub_turn_repeats_total", "hubbub_deliveries_total"):
        samples = [line for line in lines if line.startswith(name + "{")]
        assert len({line.partition("}")[0] for line in samples}) <= 101 * 3
    total = sum(
        float(line.rpartition(" ")[2]) for line in lines if line.startswith("hubbub_deliveries_total{")
    )
    assert total == 1000
    assert any('connector="other"' in line for line in lines)


def test_a_turn_is_counted_with_its_steps_and_tier() -> None:
    """Time to the first token, time of each step, errors by code, repeats, and tokens for API keys."""
    metrics = Metrics()
    metrics.turn_ended(
        TurnEvent(
            connector="api",
            route="documents",
            queue_ms=10,
            turn_ms=500,
            model="m",
            tier="pro",
            prompt_tokens=30,
            answer_tokens=4,
            attempts=3,
            retrieve_ms=20,
            first_token_ms=70,
            generate_ms=400,
        )
    )
    metrics.turn_ended(
        TurnEvent(
            connector="api", route="error", kind_of_answer="error", code="given_up", queue_ms=1, turn_ms=1
        )
    )

    text = metrics.text().decode()
    for line in (
        'hubbub_turn_step_seconds_count{step="retrieve"} 1.0',
        'hubbub_turn_step_seconds_sum{step="generate"} 0.4',
        'hubbub_first_token_seconds_bucket{le="0.1",model="m"} 1.0',
        'hubbub_first_token_seconds_bucket{le="0.05",model="m"} 0.0',
        'hubbub_turn_repeats_total{connector="api"} 2.0',
        'hubbub_turn_errors_total{code="given_up",connector="api"} 1.0',
        'hubbub_key_tokens_total{kind="prompt",tier="pro"} 30.0',
        "inference_count 1.0",
    ):
        assert line in text, line
    assert 'step="check"' not in text
