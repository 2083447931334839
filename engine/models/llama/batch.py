"""What one step computes: tokens of many sequences, in memory that llama.cpp reads as it is."""

import ctypes

import numpy as np

from engine.models.llama.library import llama_cpp
from engine.models.llama.vocabulary import Tokens

_INT32 = ctypes.POINTER(ctypes.c_int32)


class Batch:
    """A `llama_batch` over numpy arrays: filling it is slice assignment.

    Tokens of one sequence are added together, and sequences in the order of their ids: llama.cpp computes runs of
    neighbouring ids together and everything else apart.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.rows = 0
        """Rows of logits that were asked for."""
        self._tokens = np.zeros(capacity, np.int32)
        self._positions = np.zeros(capacity, np.int32)
        self._sequences = np.zeros(capacity, np.int32)
        self._outputs = np.zeros(capacity, np.int8)
        self._counts = np.ones(capacity, np.int32)
        # Each token names its sequences by an array; here these are single entries of one.
        first = self._sequences.ctypes.data
        self._names = (first + self._sequences.itemsize * np.arange(capacity)).astype(np.uintp)
        self.raw = llama_cpp.llama_batch(
            n_tokens=0,
            token=self._tokens.ctypes.data_as(_INT32),
            embd=None,
            pos=self._positions.ctypes.data_as(_INT32),
            n_seq_id=self._counts.ctypes.data_as(_INT32),
            seq_id=self._names.ctypes.data_as(ctypes.POINTER(_INT32)),
            logits=self._outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def __len__(self) -> int:
        return int(self.raw.n_tokens)

    def clear(self) -> None:
        """Begin the next step."""
        self.raw.n_tokens = self.rows = 0

    def add(self, sequence: int, start: int, tokens: Tokens, *, outputs: int) -> int:
        """Append tokens of a sequence.

        Args:
            sequence: its id.
            start: position of the first token in it.
            tokens: int32, shape (n,).
            outputs: the last so many give a row of logits each.

        Returns: the first of these rows.
        """
        begin, end = len(self), len(self) + len(tokens)
        # llama.cpp ends the process when it is given more.
        assert end <= self.capacity, "the batch is full"
        self._tokens[begin:end] = tokens
        self._positions[begin:end] = np.arange(start, start + len(tokens), dtype=np.int32)
        self._sequences[begin:end] = sequence
        self._outputs[begin:end] = 0
        self._outputs[end - outputs : end] = 1
        self.raw.n_tokens = end
        row = self.rows
        self.rows += outputs
        return row
