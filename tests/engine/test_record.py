"""One attempt at a turn and one at its delivery: spans below the right ones, and lines that tell how it ended."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from connectors.record import DeliveryRecord
from engine.answers import TurnStats
from engine.record import TurnRecord
from hub.bus.queue import Lease
from hub.errors import ModelError
from hub.messages import Address, InboundMessage, OutboundMessage, utc_now
from hub.trace_settings import TraceSettings
from hub.traces import NO_TRACES, Traces, open_traces
from tests.emulators.collector import Collector
from tests.settings_tree import ROOT

ADDRESS = Address(connector="web", account="hub", chat="v", person="v")


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """Where spans go."""
    async with Collector() as server:
        yield server


@pytest.fixture
async def traces(collector: Collector) -> Traces:
    """Traces that go there; closed by the test, so that all have come."""
    return open_traces(TraceSettings(endpoint=collector.endpoint), "engine")


def message(trace: dict[str, str]) -> InboundMessage:
    """Make a message that came two seconds ago."""
    return InboundMessage(
        external_key="k",
        conversation="web-v",
        address=ADDRESS,
        text="my diary",
        received_at=utc_now() - timedelta(seconds=2),
        trace=trace,
    )


def lease(*, attempts: int = 1, age_s: float = 2.0) -> Lease:
    """Make a lease on an entry of some age."""
    head = f"{round((utc_now().timestamp() - age_s) * 1000)}-0"
    return Lease(lane="web-v", head=head, fence=attempts, attempts=attempts, retries=0, body=b"")


def reply(record: TurnRecord) -> OutboundMessage:
    """Make the reply of an attempt."""
    return OutboundMessage(
        reply_id="1-0:0",
        turn="1-0",
        conversation="web-v",
        address=ADDRESS,
        text="my answer",
        course=record.course(TurnStats(retrieve_ms=20.0, generate_ms=100.0, first_token_ms=30.0)),
        trace=record.trace,
    )


def documented_line() -> dict[str, Any]:
    """Read the line that docs/operations.md shows."""
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    line: dict[str, Any] = json.loads(text.partition("```json\n")[2].partition("```")[0])
    return line


async def test_two_attempts_and_the_delivery_are_one_trace(collector: Collector, traces: Traces) -> None:
    """An attempt that failed stands beside the one that ended the turn, with the kind of its error."""
    receive = traces.begin("receive", kind="server")
    receive.end()
    inbound = message(receive.carrier)

    first = TurnRecord(traces, lease(), inbound)
    with pytest.raises(ModelError), first.running(), first.recalling():
        raise ModelError("the model said my diary")
    second = TurnRecord(traces, lease(attempts=2), inbound)
    with second.running(), second.recalling():
        pass
    outbound = reply(second)
    second.ended(second.course(), "committed", 5.0, route="documents", kind="answer")
    delivery = DeliveryRecord(traces, lease(age_s=1), outbound)
    with delivery.running(), delivery.sending():
        pass
    with capture_logs() as logs:
        delivery.ended("placed", "", 0, "committed", 3.0)
    await traces.close()

    spans = collector.spans
    assert {span.trace for span in spans} == {logs[0]["trace"]}
    assert set(logs[0]) - {"log_level"} == set(documented_line())
    (top,) = [span for span in spans if span.name == "receive"]
    one, two = sorted((s for s in spans if s.name == "turn"), key=lambda span: span.attributes["attempt"])
    assert (one.parent, one.error, two.parent, two.error) == (top.id, "ModelError", top.id, "")
    (deliver,) = [span for span in spans if span.name == "deliver"]
    below = {(span.name, span.parent) for span in spans}
    assert deliver.parent == two.id
    assert {("recall", one.id), ("recall", two.id), ("commit", two.id), ("send", deliver.id)} <= below
    waits = sorted((span for span in spans if span.name == "wait"), key=lambda span: span.ended_ns)
    assert [round((span.ended_ns - span.began_ns) / 1e9) for span in waits] == [2, 2, 1]
    assert [span.parent for span in waits] == [top.id, top.id, two.id]
    sent = b"".join(collector.bodies)
    assert not [word for word in (b"diary", b"answer\x12", b"web-v", b"my ") if word in sent]


def test_the_line_of_a_message_adds_up() -> None:
    """It holds what the engine measured and what the sender did, and no text; without traces no trace."""
    turn = TurnRecord(NO_TRACES, lease(), message({}))
    outbound = reply(turn)
    delivery = DeliveryRecord(NO_TRACES, lease(age_s=1), outbound)
    with delivery.running(), delivery.sending():
        pass
    with capture_logs() as logs:
        delivery.ended("placed", "", 0, "committed", 3.0)

    (line,) = logs
    assert (line["event"], line["outcome"], line["attempts"], line["deliveries"]) == (
        "message_done",
        "placed",
        1,
        1,
    )
    assert (line["retrieve_ms"], line["generate_ms"], line["first_token_ms"]) == (20.0, 100.0, 30.0)
    assert 1900 <= line["queue_ms"] <= 4000
    assert 900 <= line["wait_ms"] <= 3000
    assert line["total_ms"] >= line["queue_ms"]
    assert "trace" not in line
    assert "my answer" not in str(line)


@pytest.mark.parametrize("outcome", ["fenced", "cancelled", "interrupted"])
def test_what_was_not_stored_is_told_as_that(outcome: str) -> None:
    """A turn that another engine has taken over, and a delivery whose end another sender writes down."""
    turn = TurnRecord(NO_TRACES, lease(), message({}))
    delivery = DeliveryRecord(NO_TRACES, lease(), reply(turn))
    with capture_logs() as logs:
        turn.ended(turn.course(), outcome, 1.0, route="documents", kind="answer")  # type: ignore[arg-type]
        delivery.ended("placed", "", 0, outcome, 1.0)  # type: ignore[arg-type]

    assert [(line["event"], line["outcome"]) for line in logs] == [
        ("turn_ended", outcome),
        ("delivery_not_stored", outcome),
    ]


def test_replies_and_messages_of_earlier_versions_are_read() -> None:
    """Old and new processes share the streams while a hub is updated."""
    old = {"reply_id": "1-0:0", "turn": "1-0", "conversation": "web-v", "address": ADDRESS, "text": "t"}
    read = OutboundMessage.model_validate(old)
    inbound = InboundMessage.model_validate(
        {"external_key": "k", "conversation": "web-v", "address": ADDRESS, "text": "t"}
    )
    delivery = DeliveryRecord(NO_TRACES, lease(), read)
    with capture_logs() as logs:
        delivery.ended("placed", "", 0, "committed", 1.0)

    assert (read.course, read.trace, inbound.trace) == (None, {}, {})
    assert logs[0]["event"] == "message_done"
