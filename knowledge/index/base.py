"""The contract of a vector index."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

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

    def save(self, folder: Path, *, model: str, version: int) -> None:
        """Write the index into a folder; a crash at any moment leaves the old or the new one.

        Args:
            model: the embedding model of the vectors.
            version: what `open` gives back with it.
        """

    @classmethod
    def open(cls, folder: Path, *, model: str) -> tuple[Self, int]:
        """Read an index that was saved.

        Returns: the index, and the version it was saved with.
        Raises: KnowledgeError: there is none, it is damaged, or of another model.
        """
