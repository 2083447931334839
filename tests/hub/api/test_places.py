"""Places of a key whose requests are being answered."""

from contextlib import ExitStack

import pytest

from hub.api.places import Places


def test_places_are_never_more_than_there_are() -> None:
    """One that was given back is taken again, and names have nothing to do with each other."""
    places = Places()
    with ExitStack() as held:
        taken = [held.enter_context(places.take("key", 2)) for _ in range(4)]
        other = held.enter_context(places.take("other", 1))

    with places.take("key", 1) as again:
        pass

    assert taken == [True, True, False, False]
    assert (other, again) == (True, True)


def test_a_request_that_fails_gives_its_place_back() -> None:
    """However it ends."""
    places = Places()
    with pytest.raises(OSError, match="gone"), places.take("key", 1):
        raise OSError("gone")

    with places.take("key", 1) as again:
        assert again
