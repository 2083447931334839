"""Computes with a Hugging Face model one answer after another, a token of each in turn.

For models whose answers cannot be computed in one pass: those that keep something else than keys and values, and code
of a model's own that knows no padding or no cache.
"""

from collections.abc import Sequence

import torch

from engine.models.stepping import Computed, Place
from engine.models.torch_rows import TorchWeights, computed_rows, last_logits


class SingleComputer:
    """Gives every answer the cache that the model makes itself, or none at all."""

    def __init__(self, weights: TorchWeights, *, parallel: int, keeps: bool) -> None:
        """Prepare.

        Args:
            weights: the model.
            parallel: answers that are in progress at once.
            keeps: whether the model can go on from its cache; otherwise each token computes all before it again.
        """
        self.parallel = parallel
        self.step_tokens = 1 << 20
        self.vocabulary_size = weights.vocabulary_size
        self.memory_bytes = weights.size_bytes
        self._weights = weights
        self._keeps = keeps

    def read(self, place: Place) -> Computed:
        """Compute a prompt in one piece, because not every model can go on within one."""
        return self._compute(place)

    def advance(self, places: Sequence[Place]) -> list[Computed]:
        """Compute the last token of each answer."""
        return [self._compute(place) for place in places]

    def drop(self, place: Place) -> None:
        """Forget a request."""
        place.state = None

    def close(self) -> None:
        """Free everything."""
        self._weights.close()

    def _compute(self, place: Place) -> Computed:
        if self._keeps:
            begin = place.computed
            output = self._weights(
                torch.tensor([place.tokens[begin:]]),
                place.state,
                position_ids=torch.arange(begin, len(place.tokens))[None],
                attention_mask=torch.ones(1, len(place.tokens), dtype=torch.long),
            )
            place.state = output.past_key_values
        else:
            output = self._weights.call_plainly(torch.tensor([place.tokens]))
        place.computed = len(place.tokens)
        return computed_rows([place], last_logits(output))[0]
