"""Saved states: as many as there is room for, and none that was changed."""

import numpy as np

from engine.models.llama.states import SavedState, SavedStates


def _state(size_bytes: int, fingerprint: tuple[object, ...] = ("f16", 4)) -> SavedState:
    data = np.arange(size_bytes, dtype=np.uint8)
    return SavedState.seal(np.arange(4, dtype=np.int32), data, fingerprint, shared=1, audience="one")


def test_the_least_recently_used_states_go_first() -> None:
    """Those that had to go are told."""
    states = SavedStates(250)
    first, second, third = (_state(100) for _ in range(3))

    assert states.add(first) == []
    assert states.add(second) == []
    states.use(first)

    assert states.add(third) == [second]
    states.remove(second)
    assert states.size_bytes == 200


def test_a_state_larger_than_all_room_is_not_kept() -> None:
    """And nothing goes for it."""
    states = SavedStates(50)
    states.add(_state(40))
    large = _state(60)

    assert states.add(large) == [large]
    assert len(states) == 1


def test_a_changed_byte_is_noticed() -> None:
    """And so is a context of another kind."""
    state = _state(100)
    assert state.is_intact(("f16", 4))
    assert not state.is_intact(("q8_0", 4))

    state.data[50] += 1

    assert not state.is_intact(("f16", 4))
