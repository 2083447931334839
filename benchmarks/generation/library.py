"""llama.cpp with nothing around it: batches that are known beforehand, and the greedy choice of all rows at once."""

import os
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

    def close(self) -> None:
        """Free everything."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def answer(self, prompts: Sequence[Sequence[int]], shared: int, tokens: int) -> None:
        """Compute `tokens` new tokens for every prompt; the first `shared` tokens of all are computed once."""
        llama_cpp.llama_memory_clear(self._memory, False)
        if shared:
            self._prefill({0: list(prompts[0][:shared])}, 0)
            for sequence in range(1, len(prompts)):
                llama_cpp.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)
        latest = self._prefill({s: list(prompt[shared:]) for s, prompt in enumerate(prompts)}, shared)
        lengths = [len(prompt) for prompt in prompts]
        for step in range(tokens - 1):
            rows = [(s, lengths[s] + step, latest[s], True) for s in range(len(prompts))]
            latest = dict(enumerate(self._decode(rows).argmax(axis=1).tolist()))

    def logits(self, tokens: Sequence[int], batch_tokens: int = BATCH_TOKENS) -> NDArray[np.float32]:
        """Return what follows some tokens, computed so many at a time: one row, shape (vocabulary,)."""
        llama_cpp.llama_memory_clear(self._memory, False)
        for start in range(0, len(tokens), batch_tokens):
            part = tokens[start : start + batch_tokens]
            rows = [(0, start + i, token, start + i == len(tokens) - 1) for i, token in enumerate(part)]
            found = self._decode(rows)
        row: NDArray[np.float32] = found[-1].copy()
        return row

    def _prefill(self, parts: dict[int, list[int]], start: int) -> dict[int, int]:
        """Compute the tokens of some sequences; returns the greedy choice behind each."""
        rows = [
            (sequence, start + i, token, i == len(part) - 1)
            for sequence, part in parts.items()
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
