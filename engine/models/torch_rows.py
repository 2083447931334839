"""Computes with a Hugging Face model: prompts one after another, then a token of every answer in one pass."""

import inspect
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.models.stepping import Computed, Place
from engine.models.torch_adapters import SharedModel
from engine.models.torch_cache import KeysValues, RowCache, begin_with, taken_from

_KEPT_BEGINNINGS = 4
"""Beginnings of prompts that are shared by everybody and so kept; there is one for each prompt profile."""

_SHORTEST_BEGINNING = 24
"""Tokens; to compute fewer apart takes longer than it saves."""


class TorchWeights:
    """A loaded model with the adapters that count here, and how it is called."""

    def __init__(self, shared: SharedModel, *, vocabulary_size: int, adapters: tuple[str, ...] = ()) -> None:
        self.vocabulary_size = vocabulary_size
        self._shared = shared
        self._adapters = adapters
        model: torch.nn.Module = shared.module
        tensors = [*model.parameters(), *model.buffers()]
        self.device = tensors[0].device
        self.size_bytes = sum(tensor.nbytes for tensor in tensors)
        accepted = inspect.signature(model.forward).parameters
        self._accepted = frozenset(accepted)
        self._takes_any = any(one.kind is one.VAR_KEYWORD for one in accepted.values())

    def __call__(self, tokens: torch.Tensor, cache: Any, **options: torch.Tensor) -> Any:
        """Run the model once.

        Args:
            tokens: shape (rows, tokens).
            cache: what was computed before; None: the model makes its own.
            options: `position_ids` and `attention_mask`.
        """
        moved = {name: value.to(self.device) for name, value in options.items()}
        wanted = {"past_key_values": cache, "use_cache": True, "return_dict": True, **moved}
        if not self._takes_any:
            wanted = {name: value for name, value in wanted.items() if name in self._accepted}
        if "logits_to_keep" in self._accepted:
            wanted["logits_to_keep"] = 1
        with self._shared.using(self._adapters) as model, torch.inference_mode():
            return model(input_ids=tokens.to(self.device), **wanted)

    def call_plainly(self, tokens: torch.Tensor) -> Any:
        """Run the model once over whole texts, without any cache."""
        options = {"use_cache": False} if "use_cache" in self._accepted else {}
        with self._shared.using(self._adapters) as model, torch.inference_mode():
            return model(input_ids=tokens.to(self.device), **options)

    def close(self) -> None:
        """Let go of the adapters, and of the weights where nobody else computes with them."""
        self._shared.remove(self._adapters)
        del self._shared
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def last_logits(output: Any) -> torch.Tensor:
    """Return the logits of the last token of each row, float32, shape (rows, vocabulary)."""
    logits: torch.Tensor = output.logits if hasattr(output, "logits") else output[0]
    return logits[:, -1].float()


def computed_rows(places: Sequence[Place], logits: torch.Tensor) -> list[Computed]:
    """Tell what may follow in each row; rows are copied only for those who look at them."""
    likeliest = logits.argmax(dim=-1).tolist()
    return [
        Computed(place, int(token), lambda row=row: _as_array(logits[row]))  # type: ignore[misc]
        for row, (place, token) in enumerate(zip(places, likeliest, strict=True))
    ]


class RowComputer:
    """Computes all answers in one pass; for models that keep the keys and values of every token."""

    def __init__(self, weights: TorchWeights, *, parallel: int, step_tokens: int) -> None:
        self.parallel = parallel
        self.step_tokens = step_tokens
        self.vocabulary_size = weights.vocabulary_size
        self._weights = weights
        self._cache = RowCache()
        self._rows: list[Place] = []
        self._beginnings: OrderedDict[bytes, list[KeysValues]] = OrderedDict()

    @property
    def memory_bytes(self) -> int:
        """What weights and contexts take; safe on any thread."""
        return self._weights.size_bytes + self._cache.memory_bytes

    def read(self, place: Place) -> Computed | None:
        """Compute the next part of a prompt; its shared beginning is computed apart, once for everybody.

        Every prompt is cut at the same places whether its beginning was known or not, so that the answer is the same.
        """
        if place.state is None:
            place.state = begin_with(self._known(place))
        is_beginning = place.computed < place.shared
        until = place.shared if is_beginning else len(place.tokens)
        until = min(until, place.computed + self.step_tokens)
        positions = torch.arange(place.computed, until)[None]
        tokens = torch.tensor([place.tokens[place.computed : until]])
        output = self._weights(
            tokens, place.state, position_ids=positions, attention_mask=torch.ones(1, until, dtype=torch.long)
        )
        place.computed = until
        if is_beginning and until == place.shared:
            self._remember(place)
        if place.pending:
            return None
        self._cache.add(taken_from(place.state))
        self._rows.append(place)
        place.state = None
        return computed_rows([place], last_logits(output))[0]

    def advance(self, places: Sequence[Place]) -> list[Computed]:
        """Compute the last token of each answer in one pass."""
        assert len(places) == len(self._rows)
        self._cache.make_room()
        tokens = torch.tensor([place.tokens[-1:] for place in self._rows])
        positions = torch.tensor(self._cache.lengths)[:, None]
        output = self._weights(
            tokens, self._cache, position_ids=positions, attention_mask=self._cache.attention_mask()
        )
        self._cache.grow()
        for place in self._rows:
            place.computed += 1
        by_place = {one.place: one for one in computed_rows(self._rows, last_logits(output))}
        return [by_place[place] for place in places]

    def drop(self, place: Place) -> None:
        """Forget a request."""
        place.state = None
        if place in self._rows:
            row = self._rows.index(place)
            last = self._cache.remove(row)
            self._rows[row] = self._rows[last]
            self._rows.pop()

    def close(self) -> None:
        """Free everything."""
        self._cache, self._rows = RowCache(), []
        self._beginnings.clear()
        self._weights.close()

    def _known(self, place: Place) -> list[KeysValues]:
        # The last token is always computed: what may follow it is not kept.
        if not _SHORTEST_BEGINNING <= place.shared < len(place.tokens):
            place.shared = 0
            return []
        key = _key(place)
        known = self._beginnings.get(key, [])
        if known:
            self._beginnings.move_to_end(key)
            place.computed = place.cached = place.shared
        return known

    def _remember(self, place: Place) -> None:
        self._beginnings[_key(place)] = taken_from(place.state)
        while len(self._beginnings) > _KEPT_BEGINNINGS:
            self._beginnings.popitem(last=False)


def _key(place: Place) -> bytes:
    return np.array(place.tokens[: place.shared], np.int32).tobytes()


def _as_array(row: torch.Tensor) -> NDArray[np.float32]:
    # A copy: the sampler changes it, and the tensor belongs to the model.
    array: NDArray[np.float32] = row.detach().cpu().numpy().copy()
    return array
