"""llama.cpp with nothing around it: batches that are known beforehand, and the greedy choice of all rows at once.

`python -m benchmarks.generation.library PEOPLE CONTEXT_LENGTH` reads a line of JSON for each call of `answer`, and writes the
seconds that it took: in a process of its own it waits for its threads as the engine's process does.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np
import psutil
from numpy.typing import NDArray

from engine.models.llama.files import model_file
from hub.model_settings import GgufSettings

BATCH_TOKENS = 512


class Library:
    """One model and one context for some sequences."""

    def __init__(self, people: int, context_length: int) -> None:
        llama_cpp.llama_backend_init()
        path = os.fsencode(model_file(GgufSettings()))
        self._model = llama_cpp.llama_model_load_from_file(path, llama_cpp.llama_model_default_params())
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = people * context_length
        parameters.n_seq_max = people
        parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
        parameters.n_threads = parameters.n_threads_batch = psutil.cpu_count(logical=False) or 1
        parameters.kv_unified = False
        parameters.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, parameters)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)
        self._vocabulary_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._known: list[list[int]] = []
        """Tokens of each sequence that are computed."""

    def close(self) -> None:
        """Free everything."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def answer(
        self, prompts: Sequence[Sequence[int]], shared: int, tokens: int, *, goes_on: bool = False
    ) -> None:
        """Compute `tokens` new tokens for every prompt.

        Args:
            prompts: one for each sequence.
            shared: so many first tokens of all are the same, and computed once.
            tokens: new ones for each.
            goes_on: the prompts continue what was computed by the last call, as far as they are the same.
        """
        if not goes_on:
            self._begin(prompts, shared)
        starts = [self._cut(sequence, prompt) for sequence, prompt in enumerate(prompts)]
        latest = self._prefill({s: (starts[s], prompt[starts[s] :]) for s, prompt in enumerate(prompts)})
        said = [list(prompt) for prompt in prompts]
        for _ in range(tokens - 1):
            rows = [(s, len(text), latest[s], True) for s, text in enumerate(said)]
            for s, text in enumerate(said):
                text.append(latest[s])
            latest = dict(enumerate(self._decode(rows).argmax(axis=1).tolist()))
        self._known = said

    def _begin(self, prompts: Sequence[Sequence[int]], shared: int) -> None:
        """Forget everything, and compute what all prompts begin with."""
        llama_cpp.llama_memory_clear(self._memory, False)
        self._known = [list(prompt[:shared]) for prompt in prompts]
        if shared:
            self._prefill({0: (0, prompts[0][:shared])})
            for sequence in range(1, len(prompts)):
                llama_cpp.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)

    def _cut(self, sequence: int, prompt: Sequence[int]) -> int:
        """Keep of a sequence what a prompt begins with; returns how many tokens that is. The last is always computed."""
        known = self._known[sequence]
        pairs = zip(known, prompt[:-1], strict=False)
        same = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
        kept = min(len(known), len(prompt) - 1) if same is None else same
        if kept < len(known):
            llama_cpp.llama_memory_seq_rm(self._memory, sequence, kept, -1)
        return kept

    def logits(self, tokens: Sequence[int], batch_tokens: int = BATCH_TOKENS) -> NDArray[np.float32]:
        """Return what follows some tokens, computed so many at a time: one row, shape (vocabulary,)."""
        llama_cpp.llama_memory_clear(self._memory, False)
        for start in range(0, len(tokens), batch_tokens):
            part = tokens[start : start + batch_tokens]
            rows = [(0, start + i, token, start + i == len(tokens) - 1) for i, token in enumerate(part)]
            found = self._decode(rows)
        row: NDArray[np.float32] = found[-1].copy()
        return row

    def _prefill(self, parts: dict[int, tuple[int, Sequence[int]]]) -> dict[int, int]:
        """Compute tokens of some sequences, each from a position on; returns the greedy choice behind each."""
        rows = [
            (sequence, start + i, token, i == len(part) - 1)
            for sequence, (start, part) in parts.items()
            for i, token in enumerate(part)
        ]
        chosen: list[int] = []
        for begin in range(0, len(rows), BATCH_TOKENS):
            chunk = rows[begin : begin + BATCH_TOKENS]
            found = self._decode(chunk)
            if len(found):
                chosen += found.argmax(axis=1).tolist()
        return dict(zip(parts, chosen, strict=True))

    def _decode(self, rows: Sequence[tuple[int, int, int, bool]]) -> NDArray[np.float32]:
        batch: Any = self._batch
        batch.n_tokens = len(rows)
        for i, (sequence, position, token, is_wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = is_wanted
        if status := llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode returned {status}")
        wanted = sum(row[3] for row in rows)
        if not wanted:
            return np.empty((0, self._vocabulary_size), np.float32)
        pointer = llama_cpp.llama_get_logits(self._context)
        rows_of_logits: NDArray[np.float32] = np.ctypeslib.as_array(
            pointer, shape=(wanted, self._vocabulary_size)
        )
        return rows_of_logits


def serve(people: int, context_length: int) -> None:
    """Answer until standard input ends."""
    library = Library(people, context_length)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        prompts, shared, tokens, goes_on = json.loads(line)
        began = time.perf_counter()
        library.answer(prompts, shared, tokens, goes_on=goes_on)
        print(json.dumps(time.perf_counter() - began), flush=True)
    library.close()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
