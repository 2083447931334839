"""Whose turn it is: shares of tiers and people, whatever each of them sends."""

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from engine.models.base import Requester
from engine.models.llama.fairness import FairQueue, Turn


def _of(person: str, tier: str = "", weight: float = 1.0) -> Requester:
    return Requester(person=person, tier=tier, weight=weight)


def _serve(queue: FairQueue, waiting: list[Turn], count: int) -> list[str]:
    """Serve the first turns one after another, and tell whose they were."""
    served = []
    for _ in range(count):
        turn = queue.in_order(waiting, lambda turn: turn)[0]
        waiting.remove(turn)
        queue.begin(turn)
        queue.work(turn, turn.cost)
        queue.leave(turn, turn.cost, 0.0)
        served.append(turn.person)
    return served


def test_one_person_is_served_in_the_order_of_asking() -> None:
    """Alone, nothing is reordered."""
    queue = FairQueue()
    turns = [queue.enter(_of("maria"), cost) for cost in (300, 10, 50)]

    assert queue.in_order(reversed(turns), lambda turn: turn) == turns


def test_fifty_requests_of_one_person_do_not_delay_another() -> None:
    """Who comes with one request after fifty waits for one of them at most."""
    queue = FairQueue()
    waiting = [queue.enter(_of("greedy"), 100) for _ in range(50)]
    _serve(queue, waiting, 3)

    waiting.append(queue.enter(_of("modest"), 100))

    assert "modest" in _serve(queue, waiting, 2)


def test_a_long_prompt_waits_for_the_short_ones_of_others() -> None:
    """Also when it came first."""
    queue = FairQueue()
    waiting = [queue.enter(_of("long"), 5_000)]
    waiting += [queue.enter(_of("short"), 100) for _ in range(3)]

    assert _serve(queue, waiting, 4) == ["short", "short", "short", "long"]


def test_nobody_is_overtaken_for_ever() -> None:
    """A long request is served although others keep coming, after its share of the work was done for them."""
    queue = FairQueue()
    waiting = [queue.enter(_of("long"), 1_000)]
    served: list[str] = []
    while "long" not in served:
        waiting.append(queue.enter(_of(f"newcomer {len(served)}"), 100))
        served += _serve(queue, waiting, 1)

    assert len(served) <= 2 * 1_000 / 100 + 2


def test_a_tier_of_three_times_the_weight_gets_three_times_as_much() -> None:
    """However many people each tier has."""
    queue = FairQueue()
    waiting = [queue.enter(_of("one", "gold", 3.0), 10) for _ in range(60)]
    for number in range(5):
        waiting += [queue.enter(_of(f"free {number}", "free"), 10) for _ in range(20)]

    served = Counter("gold" if person == "one" else "free" for person in _serve(queue, waiting, 80))

    assert math.isclose(served["gold"] / served["free"], 3.0, rel_tol=0.2)


def test_an_answer_longer_than_expected_is_charged() -> None:
    """Who got more than it looked like has later turns."""
    queue = FairQueue()
    first = [queue.enter(_of("talker"), 100), queue.enter(_of("other"), 100)]
    queue.begin(first[0])
    queue.work(first[0], 1_000)
    queue.leave(first[0], 1_000, 0.0)

    turns = [queue.enter(_of("talker"), 100), queue.enter(_of("other"), 100)]

    assert turns[1].order < turns[0].order


def test_what_was_cancelled_is_not_charged() -> None:
    """A request that was given up before it began costs its person nothing."""
    queue = FairQueue()
    queue.enter(_of("other"), 100)
    given_up = queue.enter(_of("maria"), 1_000)
    queue.leave(given_up, 0, 0.0)

    turns = [queue.enter(_of("maria"), 100), queue.enter(_of("third"), 100)]
    assert turns[0].order < turns[1].order


def test_nobody_is_remembered_once_nothing_is_wanted() -> None:
    """A day later all begin alike."""
    queue = FairQueue()
    queue.leave(queue.enter(_of("maria"), 500), 5_000, 0.0)

    turns = [queue.enter(_of("maria"), 10), queue.enter(_of("other"), 10)]

    assert turns[0].order < turns[1].order


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 50)), min_size=20, max_size=60))
def test_those_who_always_want_something_get_about_the_same(requests: list[tuple[str, int]]) -> None:
    """While all wait, what was done for two of them differs by no more than their largest requests."""
    queue = FairQueue()
    waiting = [queue.enter(_of(person), cost) for person, cost in requests]
    people = {person for person, _ in requests}
    done = Counter(dict.fromkeys(people, 0))
    while True:
        turn = queue.in_order(waiting, lambda turn: turn)[0]
        waiting.remove(turn)
        if {turn.person for turn in waiting} != people:
            break
        queue.work(turn, turn.cost)
        queue.leave(turn, turn.cost, 0.0)
        done[turn.person] += int(turn.cost)

    assert max(done.values()) - min(done.values()) <= 2 * max(cost for _, cost in requests)
