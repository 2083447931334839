"""Traces cost nothing while they are off, hold no text, and a collector that is slow or away holds nothing up."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr, ValidationError

from hub.trace_settings import TraceSettings
from hub.traces import NO_SPAN, NO_TRACES, Traces, inside, open_traces, step, timed
from hub.traces.intake import began_ns, caller_trace, taking_in
from tests.emulators.collector import Collector

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """Where spans go."""
    async with Collector() as server:
        yield server


def opened(collector: Collector, **settings: object) -> Traces:
    """Open traces that go there."""
    return open_traces(TraceSettings.model_validate({"endpoint": collector.endpoint, **settings}), "engine")


def test_nothing_is_imported_while_traces_are_off() -> None:
    """A process without a collector loads neither tracer nor exporter, and its spans are all the same one."""
    program = (
        "import sys, hub.bus.bus, engine.record, connectors.record\n"
        "from hub.settings import Settings\nfrom hub.traces import open_traces\n"
        "traces = open_traces(Settings().traces, 'engine')\n"
        "assert traces.begin('turn', kind='consumer').child('recall') is traces.begin('wait', kind='internal')\n"
        # redis-py imports what counts, where it is installed; not what records spans or sends them.
        "loaded = ('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'hub.traces.otlp')\n"
        "assert not [name for name in sys.modules if name.startswith(loaded)]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_steps_belong_to_the_span_they_run_in(collector: Collector) -> None:
    """Also in tasks that it starts, and what breaks off is told by its kind alone."""
    traces = opened(collector)
    turn = traces.begin("turn", kind="consumer", carrier={"traceparent": CALLER})
    turn.set(connector="web", attempt=1)

    async def work() -> None:
        with pytest.raises(ValueError, match="my diary"), timed("recall"):
            raise ValueError("my diary")

    with inside(turn):
        await asyncio.create_task(work())
        step("generate").end()
    assert step("after") is NO_SPAN
    turn.end()
    await traces.close()

    spans = {span.name: span for span in collector.spans}
    assert {span.trace for span in collector.spans} == {CALLER[3:35]}
    assert spans["turn"].parent == CALLER[36:52]
    assert spans["turn"].attributes == {"connector": "web", "attempt": 1}
    assert {name: (spans[name].parent, spans[name].error) for name in ("recall", "generate")} == {
        "recall": (spans["turn"].id, "ValueError"),
        "generate": (spans["turn"].id, ""),
    }
    assert b"diary" not in b"".join(collector.bodies)
    assert traces.counts() == {"exported": 3, "lost": 0}


async def test_the_collector_is_given_its_headers(collector: Collector) -> None:
    """Values may hold what separates, as a token in base64 does."""
    traces = opened(collector, headers=SecretStr("Authorization=Bearer abc==, x-tenant = t"))
    traces.begin("turn", kind="consumer").end()
    await traces.close()

    assert collector.headers[0]["authorization"] == "Bearer abc=="
    assert collector.headers[0]["x-tenant"] == "t"


async def test_a_trace_goes_on_from_one_process_to_the_next(collector: Collector) -> None:
    """What a message carries is enough, and whether it is kept is decided once."""
    hub, engine = opened(collector, sample_ratio=0.0), opened(collector)
    unwanted = hub.begin("receive", kind="server")
    wanted = hub.begin("receive", kind="server", carrier={"traceparent": CALLER})
    declined = engine.begin("receive", kind="server", carrier={"traceparent": CALLER[:-1] + "0"})
    for span in (unwanted, wanted, declined):
        span.end()
        engine.begin("turn", kind="consumer", carrier=span.carrier).end()
    await hub.close()
    await engine.close()

    by_name = {span.name: span for span in collector.spans}
    assert sorted(span.name for span in collector.spans) == ["receive", "turn"]
    assert by_name["turn"].parent == by_name["receive"].id
    assert by_name["turn"].trace == CALLER[3:35]


@pytest.mark.parametrize(
    "carrier",
    [
        {"traceparent": "nonsense"},
        {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
        {"traceparent": CALLER + "\r\nx: y", "tracestate": "=" * 500},
        {"tracestate": "a=b"},
    ],
)
async def test_a_carrier_nobody_can_read_begins_a_trace(
    collector: Collector, carrier: dict[str, str]
) -> None:
    """Whatever a caller sends, the message has a trace and no fault."""
    traces = opened(collector)
    span = traces.begin("receive", kind="server", carrier=carrier)
    span.end()
    await traces.close()

    assert len(span.trace_id) == 32
    assert set(span.trace_id) != {"0"}
    assert [one.parent for one in collector.spans] == [""]


async def test_a_collector_that_never_answers_holds_nothing_up(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spans end at once, those without room are dropped and counted, and closing takes a moment at most."""
    monkeypatch.setattr("hub.traces.otlp.QUEUE_SPANS", 512)
    monkeypatch.setattr("hub.traces.otlp.CLOSE_TIMEOUT_S", 0.2)
    collector.hold = True
    traces = opened(collector, timeout_s=30.0)
    began = time.monotonic()
    for _ in range(2000):
        traces.begin("turn", kind="consumer").end()
    async with asyncio.timeout(10):
        await traces.close()

    # Far less than the collector is waited for.
    assert time.monotonic() - began < 10
    assert traces.counts()["exported"] == 0
    assert traces.counts()["lost"] >= 900


@pytest.mark.parametrize("status", [400, 500])
async def test_a_collector_that_refuses_is_told_once(
    collector: Collector, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """What it did not take is counted, and what it says reaches no log."""
    collector.status = status
    traces = opened(collector)
    for _ in range(3):
        traces.begin("turn", kind="consumer").end()
    await traces.close()

    assert traces.counts() == {"exported": 0, "lost": 3}
    assert capfd.readouterr().err.count("Failed to export") == 0


def test_a_request_is_noted_while_it_lasts() -> None:
    """Its trace is that of the header; what outlives the request knows nothing of it any more."""
    assert (began_ns(), caller_trace()) == (None, {})
    before = time.time_ns()
    with taking_in({"traceparent": CALLER, "tracestate": "x" * 5000}):
        assert caller_trace() == {"traceparent": CALLER}
        assert before <= (began_ns() or 0) <= time.time_ns()
    with taking_in({"tracestate": "a=b"}):
        assert caller_trace() == {}
    assert (began_ns(), caller_trace()) == (None, {})


async def test_a_task_that_outlives_its_request_begins_anew() -> None:
    """A channel that works on in the background must not count its later messages for an old caller."""
    over, told = asyncio.Event(), list[object]()

    async def later() -> None:
        await over.wait()
        told.append((began_ns(), caller_trace()))

    with taking_in({"traceparent": CALLER}):
        task = asyncio.create_task(later())
    over.set()
    await task

    assert told == [(None, {})]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("endpoint", "collector:4318"),
        ("endpoint", "ftp://x"),
        ("headers", "Bearer hush-hush"),
        ("sample_ratio", 2),
    ],
)
def test_settings_that_cannot_be_right_are_refused(name: str, value: object) -> None:
    """With a reason, and without quoting a secret."""
    with pytest.raises(ValidationError) as refused:
        TraceSettings.model_validate({name: value})

    # As it is shown when a hub starts.
    assert "hush-hush" not in str(refused.value.errors(include_input=False, include_url=False))


def test_traces_that_are_off_take_everything() -> None:
    """Whoever works on a message need not ask whether it is traced."""
    span = NO_TRACES.begin("turn", kind="consumer", carrier={"traceparent": CALLER}, began_ns=1)
    span.set(model="m")
    span.child("recall").end("ValueError")
    span.end()

    assert (span.trace_id, span.carrier, NO_TRACES.counts()) == ("", {}, {})
