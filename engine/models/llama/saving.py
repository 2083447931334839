"""Moves what was computed between llama.cpp and memory, where that is faster than computing it again."""

import time

from engine.models.llama.context import LlamaContext
from engine.models.llama.costs import Rate, StepCosts
from engine.models.llama.sequence import Sequence
from engine.models.llama.states import SavedState


class Saver:
    """Saves sequences of a context and restores them; measures both."""

    def __init__(self, context: LlamaContext, costs: StepCosts) -> None:
        self._context = context
        self._costs = costs
        self._saving = Rate(1e9)
        self._restoring = Rate(1e9)

    def restore_s(self, state: SavedState) -> float:
        """Estimate how long restoring takes."""
        return self._restoring.seconds(state.data.nbytes)

    def save(self, sequence: Sequence) -> SavedState | None:
        """Save what a sequence holds; None when that does not pay, or cannot be done now."""
        size_bytes = sequence.computed * self._context.token_bytes
        moving_s = self._saving.seconds(size_bytes) + self._restoring.seconds(size_bytes)
        if moving_s > sequence.computed * self._costs.prompt_token_s or self._context.is_moving(sequence.id):
            return None
        started = time.monotonic()
        data = self._context.save(sequence.id)
        if data is None:
            return None
        state = SavedState.seal(
            sequence.tokens[: sequence.computed],
            data,
            self._context.fingerprint,
            shared=sequence.shared,
            audience=sequence.audience,
            owner=sequence.owner,
        )
        self._saving.observe(data.nbytes, time.monotonic() - started)
        return state

    def restore(self, state: SavedState, sequence: Sequence) -> bool:
        """Put a saved text into an empty sequence; False leaves it empty."""
        started = time.monotonic()
        if not state.is_intact(self._context.fingerprint):
            return False
        if not self._context.restore(sequence.id, state.data):
            return False
        self._restoring.observe(state.data.nbytes, time.monotonic() - started)
        sequence.tokens[: len(state.tokens)] = state.tokens
        sequence.computed = sequence.planned = len(state.tokens)
        return True
