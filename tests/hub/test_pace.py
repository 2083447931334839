"""How fast turns end, and how long a new one waits by that."""

from contextlib import ExitStack

import pytest

from hub.bus.consumer import GiveBack
from hub.pace import Meter, Pace, retry_after_s, wait_s


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def run_turns(meter: Meter, clock: Clock, *, rounds: int, at_once: int, each_s: float) -> None:
    """Let so many turns run side by side, round after round."""
    for _ in range(rounds):
        with ExitStack() as running:
            for _ in range(at_once):
                running.enter_context(meter.turn())
            clock.now += each_s


def test_nothing_is_known_before_a_turn_has_ended() -> None:
    """Not even while one runs."""
    clock = Clock()
    meter = Meter(4, clock)
    with meter.turn():
        clock.now += 5

        pace = meter.pace()

    assert (pace.turns_per_s, pace.turn_s, pace.running, pace.slots) == (0, 0, 1, 4)


def test_turns_side_by_side_end_faster_than_one_after_the_other() -> None:
    """Each takes 2 s; four at once are two a second."""
    clock = Clock()
    one, four = Meter(4, clock), Meter(4, clock)

    run_turns(one, clock, rounds=30, at_once=1, each_s=2)
    run_turns(four, clock, rounds=30, at_once=4, each_s=2)

    assert one.pace().turns_per_s == pytest.approx(0.5, rel=0.05)
    assert four.pace().turns_per_s == pytest.approx(2, rel=0.05)
    assert one.pace().turn_s == pytest.approx(2, rel=0.05)
    assert four.pace().turn_s == pytest.approx(2, rel=0.05)


def test_a_turn_that_is_given_back_has_not_ended() -> None:
    """It takes its time, and makes nobody believe that turns end sooner."""
    clock = Clock()
    meter = Meter(4, clock)
    run_turns(meter, clock, rounds=30, at_once=1, each_s=2)
    before = meter.pace().turns_per_s

    for _ in range(20):
        with pytest.raises(GiveBack), meter.turn():
            raise GiveBack(1.0)

    assert meter.pace().turns_per_s == pytest.approx(before)


def test_idle_time_changes_nothing_and_a_new_pace_shows_soon() -> None:
    """The night before counts for nothing; a slower model is noticed within minutes."""
    clock = Clock()
    meter = Meter(1, clock)
    run_turns(meter, clock, rounds=60, at_once=1, each_s=1)
    before = meter.pace().turns_per_s
    clock.now += 8 * 3600
    assert meter.pace().turns_per_s == before

    run_turns(meter, clock, rounds=60, at_once=1, each_s=5)

    assert meter.pace().turns_per_s == pytest.approx(0.2, rel=0.1)


def test_a_failed_turn_is_counted_as_ended() -> None:
    """It took its time like any other."""
    clock = Clock()
    meter = Meter(1, clock)

    def fail() -> None:
        with meter.turn():
            clock.now += 2
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()

    assert meter.pace().running == 0
    assert meter.pace().turns_per_s > 0


PACES = (Pace(turns_per_s=1, turn_s=4, slots=4), Pace(turns_per_s=3, turn_s=2, slots=8))


@pytest.mark.parametrize(
    ("backlog", "lane", "expected"),
    [
        (0, 0, 0),
        (11, 0, 0),  # there is still a slot
        (12, 0, 0.25),
        (51, 0, 10),
        (3, 2, 6),  # its own conversation goes first
        (51, 4, 12),
    ],
)
def test_a_wait_is_what_comes_first_by_the_pace_of_all_engines(
    backlog: int, lane: int, expected: float
) -> None:
    """The longer of the two counts: everybody's messages, or those of its own conversation."""
    assert wait_s(PACES, backlog=backlog, lane=lane) == pytest.approx(expected)


def test_without_a_measurement_nothing_is_promised() -> None:
    """No engine, or one that has just started."""
    assert wait_s([], backlog=100, lane=1) is None
    assert wait_s([Pace(slots=4)], backlog=100, lane=1) is None
    assert retry_after_s([], backlog=100, default_s=5) == 5


@pytest.mark.parametrize(("backlog", "expected"), [(10, 1), (800, 20), (1_000_000, 300)])
def test_who_is_refused_comes_again_when_there_is_room(backlog: int, expected: float) -> None:
    """After a tenth of the backlog, in 1 s to 5 min."""
    assert retry_after_s(PACES, backlog=backlog, default_s=5) == pytest.approx(expected)
