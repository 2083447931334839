"""Keys and values of many answers in one tensor for each layer, so that one pass computes a token of each.

All rows end at the same column, where the next token is written; a short row begins further to the right, and the
attention mask hides what is before it. Rows come and go between passes without the others being moved.
"""

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer

KeysValues = tuple[torch.Tensor, torch.Tensor]
"""Of one layer, shape (1, heads, tokens, size)."""

_FEWEST_COLUMNS = 256


class RowCache(Cache):
    """What a model is given as its cache while it computes a token of each row."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.lengths: list[int] = []
        """Tokens of each row."""
        self.end = 0
        """Column of the next token."""

    @property
    def begin(self) -> int:
        """First column that any row uses."""
        return self.end - self.width

    @property
    def width(self) -> int:
        """Tokens of the longest row."""
        return max(self.lengths, default=0)

    @property
    def memory_bytes(self) -> int:
        """What the tensors take; safe on any thread."""
        return sum(layer.memory_bytes for layer in self._rows)

    def attention_mask(self) -> torch.Tensor:
        """Return which columns each row sees, the one of the next token included, shape (rows, columns)."""
        columns = torch.arange(self.begin, self.end + 1)
        begins = torch.tensor([self.end - length for length in self.lengths])
        return (columns >= begins[:, None]).to(torch.long)

    def add(self, computed: list[KeysValues]) -> int:
        """Take the keys and values of a prompt as a new row.

        Returns: the number of the row.
        """
        length = computed[0][0].shape[2]
        if not self.layers:
            self.layers = [_Rows(self, keys, values) for keys, values in computed]
        self._fit(len(self.lengths) + 1, max(self.width, length))
        row = len(self.lengths)
        self.lengths.append(length)
        for layer, (keys, values) in zip(self._rows, computed, strict=True):
            layer.write(row, self.end - length, keys, values)
        return row

    def remove(self, row: int) -> int:
        """Forget a row.

        Returns: the number of the row that takes its place; its own when it was the last one.
        """
        last = len(self.lengths) - 1
        if row != last:
            for layer in self._rows:
                layer.move(last, row, self.end - self.lengths[last], self.end)
            self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        if not self.lengths:
            self.layers, self.end = [], 0
        return last

    def make_room(self) -> None:
        """Make sure that the next token has a column."""
        self._fit(len(self.lengths), self.width)

    def grow(self) -> None:
        """Count the token that every row was given."""
        self.lengths = [length + 1 for length in self.lengths]
        self.end += 1

    @property
    def _rows(self) -> list["_Rows"]:
        layers: Any = self.layers
        found: list[_Rows] = layers
        return found

    def _fit(self, rows: int, width: int) -> None:
        """Make room for so many rows of so many tokens, and for one more token of each."""
        has_rows, has_columns = self._rows[0].shape
        if rows <= has_rows and width <= self.end < has_columns:
            return
        columns = max(has_columns, _FEWEST_COLUMNS)
        while columns < 2 * width:
            columns *= 2
        has_rows = max(has_rows, 1)
        while has_rows < rows:
            has_rows *= 2
        # What no row uses any more is at the left; it is left behind.
        for layer in self._rows:
            layer.resize(has_rows, columns, width)
        self.end = width


class _Rows(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer of a `RowCache`."""

    is_sliding = False

    def __init__(self, cache: RowCache, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cache = cache
        # Without room for anything at first.
        self._stored = [states[:0, :, :0] for states in (keys, values)]
        self.is_initialized = True

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns there is room for."""
        rows, _, columns, _ = self._stored[0].shape
        return rows, columns

    @property
    def memory_bytes(self) -> int:
        """What the tensors take."""
        return sum(states.nbytes for states in self._stored)

    def write(self, row: int, column: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Put the keys and values of a prompt in a row."""
        end = column + keys.shape[2]
        for stored, states in zip(self._stored, (keys, values), strict=True):
            stored[row, :, column:end] = states[0]

    def move(self, source: int, target: int, begin: int, end: int) -> None:
        """Copy columns of a row to another one."""
        for stored in self._stored:
            stored[target, :, begin:end] = stored[source, :, begin:end]

    def resize(self, rows: int, columns: int, end: int) -> None:
        """Make room, and let what is there end at a column."""
        cache = self._cache
        used = len(cache.lengths)
        for number, old in enumerate(self._stored):
            # Zeros, because what the mask hides is still multiplied.
            new = old.new_zeros((rows, old.shape[1], columns, old.shape[3]))
            new[:used, :, end - cache.width : end] = old[:used, :, cache.begin : cache.end]
            self._stored[number] = new

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: there is room already."""

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> KeysValues:
        """Write the next token of every row, and give all that the rows see."""
        cache = self._cache
        rows, begin, end = len(cache.lengths), cache.begin, cache.end + 1
        for stored, states in zip(self._stored, (key_states, value_states), strict=True):
            stored[:rows, :, cache.end : end] = states
        keys, values = (stored[:rows, :, begin:end] for stored in self._stored)
        return keys, values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the columns the mask is for, and the first of them."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Return the columns before the next token."""
        return self._cache.width

    def get_max_length(self) -> int:
        """Return -1: there is no limit."""
        return -1


def begin_with(computed: list[KeysValues]) -> DynamicCache:
    """Return a cache for one prompt that begins with what is known; an empty list begins anew."""
    cache = DynamicCache()
    for index, (keys, values) in enumerate(computed):
        cache.update(keys, values, index)
    return cache


def taken_from(cache: DynamicCache) -> list[KeysValues]:
    """Return what a cache holds.

    Raises: TypeError: it is not of a kind whose rows can be put side by side.
    """
    taken: list[KeysValues] = []
    for layer in cache.layers:
        if type(layer) is not DynamicLayer or layer.keys is None or layer.values is None:
            raise TypeError("the model keeps something else than keys and values of every token")
        taken.append((layer.keys, layer.values))
    return taken
