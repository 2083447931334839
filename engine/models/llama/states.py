"""What was computed of sequences that had to make room, kept in memory as bytes until somebody comes back."""

import zlib
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.models.llama.vocabulary import Tokens


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SavedState:
    """A computed text and whose it is."""

    tokens: Tokens
    shared: int
    audience: str
    owner: str
    data: NDArray[np.uint8]
    """As llama.cpp writes it; it notices neither a changed byte nor another kind of context."""
    fingerprint: tuple[object, ...]
    """Of the context that computed it."""
    checksum: int = 0

    @classmethod
    def seal(
        cls,
        tokens: Tokens,
        data: NDArray[np.uint8],
        fingerprint: tuple[object, ...],
        *,
        shared: int,
        audience: str,
        owner: str = "",
    ) -> "SavedState":
        """Keep tokens and bytes together with a checksum."""
        return cls(
            tokens=tokens.copy(),
            data=data,
            fingerprint=fingerprint,
            shared=shared,
            audience=audience,
            owner=owner,
            checksum=zlib.crc32(data.data),
        )

    def is_intact(self, fingerprint: tuple[object, ...]) -> bool:
        """Whether its bytes are what they were, and fit a context of this fingerprint."""
        return self.fingerprint == fingerprint and zlib.crc32(self.data.data) == self.checksum


class SavedStates:
    """Saved states up to a number of bytes; the least recently used one goes first."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self._states: OrderedDict[SavedState, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def of(self, owners: Collection[str]) -> list[SavedState]:
        """Return those of some owners."""
        return [state for state in self._states if state.owner in owners]

    def add(self, state: SavedState) -> list[SavedState]:
        """Keep a state.

        Returns: those that had to go for it; itself when there is no room for it at all.
        """
        if state.data.nbytes > self.limit_bytes:
            return [state]
        self._states[state] = None
        self.size_bytes += state.data.nbytes
        dropped = []
        while self.size_bytes > self.limit_bytes:
            oldest = next(iter(self._states))
            self.remove(oldest)
            dropped.append(oldest)
        return dropped

    def use(self, state: SavedState) -> None:
        """Make it the most recently used one."""
        self._states.move_to_end(state)

    def remove(self, state: SavedState) -> None:
        """Let go of a state, if it is still here."""
        if state in self._states:
            del self._states[state]
            self.size_bytes -= state.data.nbytes
