"""The contract of a vector index."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hub.errors import KnowledgeError
from knowledge.passages import Vectors

Ids = NDArray[np.int64]
Hidden = NDArray[np.bool_]
"""For each id from 0 on whether it must not be found; ids beyond the end may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A vector that was found."""

    id: int
    score: float
    """Cosine similarity, -1 to 1."""


class Index(Protocol):
    """Unit vectors under ids, found by cosine similarity; all methods may be called from any thread."""

    dimension: int

    @property
    def kind(self) -> str:
        """How it searches: `flat` is exact, `hnsw` approximate."""

    @property
    def size(self) -> int:
        """How many vectors can be found."""

    def ids(self) -> Ids:
        """Give the ids of all vectors that can be found, in no order."""

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add vectors; an id that is there already keeps its vector.

        Raises: KnowledgeError: a vector has another dimension, is not finite or not of length 1. Then none is added.
        """

    def remove(self, ids: Ids) -> int:
        """Remove vectors; unknown ids do not matter.

        Returns: how many were removed.
        """

    def search(self, vector: Vectors, k: int, hidden: Hidden | None = None) -> Sequence[Hit]:
        """Find the vectors nearest to one vector of shape (dimension,).

        Args:
            hidden: ids that are passed over, as if they were not there: whatever is near among the others is found.

        Returns: at most `k` hits, best first.
        Raises: KnowledgeError: as `add`.
        """


class IndexHome(Protocol):
    """Where the index of one embedding model lies between starts."""

    def create(self, dimension: int) -> Index:
        """Give an empty index; what lay here before is gone once `save` has returned.

        Raises: KnowledgeError: it cannot be made here.
        """

    def open(self) -> tuple[Index, int]:
        """Give the index that was saved, and the version it was saved with.

        Raises: KnowledgeError: there is none, it is damaged, or of another model.
        """

    def save(self, index: Index, version: int) -> None:
        """Keep an index that came from here; a crash at any moment leaves the old or the new one.

        Raises: KnowledgeError: it cannot be written.
        """


def unit_rows(vectors: Vectors, dimension: int) -> Vectors:
    """Check vectors before they get into an index.

    Args:
        vectors: shape (count, dimension).

    Returns: the same, float32 and contiguous.
    Raises: KnowledgeError: a vector has another dimension, is not finite or not of length 1.
    """
    rows = np.ascontiguousarray(vectors, np.float32)
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise KnowledgeError(f"expected vectors of {dimension} numbers, found shape {vectors.shape}")
    # NaN fails this comparison, too.
    if not (np.abs(np.linalg.norm(rows, axis=1) - 1) < 1e-2).all():
        raise KnowledgeError("expected vectors of length 1, found zeros, other lengths or no numbers")
    return rows
