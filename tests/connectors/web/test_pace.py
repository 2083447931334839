"""How fast a visitor may write."""

import pytest
from aiohttp.test_utils import make_mocked_request

from connectors.web.pace import Bucket, Buckets, Pace, address_name


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_bucket_fills_up_again_in_ten_seconds() -> None:
    """After the burst one comes back every tenth of the window, and the wait is told exactly."""
    clock = Clock()
    bucket = Bucket(10, clock)
    assert [bucket.take() for _ in range(11)] == [0] * 10 + [1000]

    clock.now += 0.6
    assert bucket.take() == 400
    clock.now += 0.4
    assert bucket.take() == 0
    clock.now += 3600
    assert [bucket.take() for _ in range(11)] == [0] * 10 + [1000]


def test_names_have_buckets_of_their_own_and_few_are_kept() -> None:
    """Memory is bounded however many visitors come by."""
    buckets = Buckets(1, most=2, clock=Clock())
    assert [buckets.take(name) for name in ("a", "a", "b")] == [0, 10_000, 0]

    buckets.take("c")

    assert [buckets.take("b"), buckets.take("a")] == [10_000, 0]


def test_made_up_visitors_share_the_limit_of_their_address() -> None:
    """A new token for every message does not help."""
    pace = Pace(messages_per_10s=2, connections_per_address=1)

    waits = [pace.take_message(f"visitor-{number}", "192.0.2.1") for number in range(21)]

    assert waits[:20] == [0] * 20
    assert waits[20] > 0
    assert pace.take_message("somebody", "192.0.2.2") == 0


@pytest.mark.parametrize(
    ("remote", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::"),
        ("", "local"),
    ],
)
def test_addresses_of_one_household_count_as_one(remote: str, name: str) -> None:
    """Of IPv6 a single machine has as many addresses as it likes."""
    request = make_mocked_request("GET", "/ws/chat").clone(remote=remote)

    assert address_name(request) == name
