"""Which ids a search of FAISS passes over: what was removed, and what the reader must not see."""

from collections.abc import Collection
from typing import Any

import faiss
import numpy as np

from knowledge.index.base import Hidden


class Selection:
    """A selector, with all that it points to: FAISS itself keeps none of it alive."""

    def __init__(self, removed: Collection[int], hidden: Hidden | None) -> None:
        self._parts: list[Any] = []
        if removed:
            self._leave_out(faiss.IDSelectorBatch(np.fromiter(removed, np.int64, len(removed))))
        if hidden is not None and hidden.any():
            bits = np.packbits(hidden, bitorder="little")
            self._parts.append(bits)
            # Ids beyond its end are in no such set.
            self._leave_out(faiss.IDSelectorBitmap(bits))  # type: ignore[call-arg, arg-type]
        self.selector: Any = None
        """None where everything may be found."""
        for part in [one for one in self._parts if isinstance(one, faiss.IDSelectorNot)]:
            self.selector = self._both(self.selector, part)

    def of_positions(self, id_map: Any) -> Any:
        """Give the same selection for an index that knows its vectors by their positions."""
        translated = faiss.IDSelectorTranslated(id_map, self.selector)
        self._parts.append(translated)
        return translated

    def _leave_out(self, selector: Any) -> None:
        self._parts += [selector, faiss.IDSelectorNot(selector)]

    def _both(self, one: Any, other: Any) -> Any:
        if one is None:
            return other
        both = faiss.IDSelectorAnd(one, other)
        self._parts.append(both)
        return both
