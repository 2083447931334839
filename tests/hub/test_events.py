"""Facts on the events stream."""

from hub.bus.effects import event_effect
from hub.bus.keys import Keys
from hub.events import DeliveryEvent, Event, TurnEvent, parse_event


def _written(event: Event) -> dict[bytes, bytes]:
    effect = event_effect(Keys(), event.fields())
    flat = [str(part).encode() for part in effect.arguments[1:]]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def test_a_turn_is_read_as_it_was_written() -> None:
    """What `event_effect` puts on the stream gives the same event back."""
    event = TurnEvent(
        turn="1-1", connector="telegram", route="knowledge", queue_ms=1.5, turn_ms=812, answer_tokens=40
    )

    assert parse_event(_written(event)) == event


def test_a_delivery_is_read_as_it_was_written() -> None:
    """Booleans travel as 0 and 1."""
    event = DeliveryEvent(connector="email", state="gave_up", unclear=True, wait_ms=3.0)

    assert _written(event)[b"unclear"] == b"1"
    assert parse_event(_written(event)) == event


def test_events_of_other_versions_are_passed_over() -> None:
    """An unknown kind or a damaged entry is no error; an unknown field is ignored."""
    known = _written(DeliveryEvent(connector="web", state="placed", wait_ms=1))

    assert parse_event({b"kind": b"sunrise"}) is None
    assert parse_event({b"kind": b"turn", b"connector": b"\xff"}) is None
    assert parse_event(known | {b"colour": b"blue"}) == parse_event(known)
