"""One llama.cpp model and its context: tokens in, tokens out, nothing asynchronous.

Everything but `tokenize` belongs to one thread: a llama.cpp context used by two crashes the process.
"""

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import structlog

from engine.models.base import GenerateOptions
from hub.errors import ContextWindowExceeded, ModelError

# libgomp reads this once, when llama.cpp loads it. By default its threads spin while they wait for each other:
# where anything else runs on the same cores, that makes every token ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import llama_cpp

log = structlog.get_logger(__name__)

Tokens = list[int]

_BATCH_TOKENS = 128
"""Tokens of a prompt computed between two looks at the stop signal: about 0.3 s on two cores, and as fast as
larger batches there."""
_LOG_ERROR = 3


def _forward_log(level: int, text: bytes, _: Any) -> None:
    # llama.cpp writes its progress to stderr unless somebody takes it; only its errors are worth a line.
    if level == _LOG_ERROR:
        log.warning("llama_complained", detail=text.decode("utf-8", "replace").strip()[:300])


# ctypes does not keep the callback alive: the module does.
_LOG_CALLBACK = llama_cpp.llama_log_callback(_forward_log)


class LlamaContext:
    """A loaded model with one sequence of tokens, whose computed prefix is used again by the next prompt."""

    def __init__(self, path: Path, *, context_length: int, threads: int) -> None:
        llama_cpp.llama_log_set(_LOG_CALLBACK, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(
            os.fsencode(path), llama_cpp.llama_model_default_params()
        )
        if not self._model:
            raise ModelError(f"model file {path} is not a GGUF file that llama.cpp can read")
        self._context = llama_cpp.llama_init_from_model(
            self._model, self._parameters(context_length, threads)
        )
        if not self._context:
            llama_cpp.llama_model_free(self._model)
            raise ModelError(f"there is no memory for a context of {context_length} tokens of {path}")
        self.context_length = context_length
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self._computed: Tokens = []
        self._piece_buffer = ctypes.create_string_buffer(256)

    @staticmethod
    def _parameters(context_length: int, threads: int) -> Any:
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = context_length
        parameters.n_seq_max = 1
        parameters.n_batch = parameters.n_ubatch = _BATCH_TOKENS
        # Single tokens are bound by memory, and waiting for each other costs small models more than it gains.
        parameters.n_threads = (threads + 1) // 2
        parameters.n_threads_batch = threads
        parameters.no_perf = True
        return parameters

    def close(self) -> None:
        """Free the model's memory; nothing may be called afterwards."""
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def tokenize(self, text: str, *, is_template: bool) -> Tokens:
        """Turn text into tokens; safe on any thread.

        Args:
            text: any text; what is not valid Unicode is replaced.
            is_template: whether special tokens spelt in the text become special tokens; in data they stay
                text.
        """
        data = text.encode("utf-8", "replace")
        size = len(data) + 8
        buffer = (ctypes.c_int32 * size)()
        count = llama_cpp.llama_tokenize(self._vocabulary, data, len(data), buffer, size, False, is_template)
        if count < 0:
            raise ModelError("the text could not be turned into tokens")
        return buffer[:count]

    def piece(self, token: int) -> bytes:
        """Return a token's bytes, which need not be whole characters."""
        size = llama_cpp.llama_token_to_piece(
            self._vocabulary, token, self._piece_buffer, len(self._piece_buffer), 0, False
        )
        return self._piece_buffer.raw[: max(size, 0)]

    def generate(
        self, prompt: Sequence[int], options: GenerateOptions, is_stopped: Callable[[], bool]
    ) -> Iterator[int]:
        """Yield the tokens that follow the prompt, until the model ends its message.

        Args:
            prompt: the whole prompt; what it shares with the one before is not computed again.
            options: limits and sampling; stop strings are the caller's business.
            is_stopped: asked before every token and every batch of the prompt; true ends the generation.

        Raises: ContextWindowExceeded, ModelError.
        """
        needed = len(prompt) + options.max_tokens
        if needed > self.context_length:
            raise ContextWindowExceeded(self.context_length, needed)
        sampler = _sampler(options)
        try:
            pending = self._forget_after_common_prefix(list(prompt))
            for _ in range(options.max_tokens):
                if not self._decode(pending, is_stopped):
                    return
                token = llama_cpp.llama_sampler_sample(sampler, self._context, -1)
                if llama_cpp.llama_vocab_is_eog(self._vocabulary, token):
                    return
                yield token
                pending = [token]
        finally:
            llama_cpp.llama_sampler_free(sampler)

    def _forget_after_common_prefix(self, prompt: Tokens) -> Tokens:
        # The last token is always computed: its row of logits is what the first choice is made from.
        limit = min(len(self._computed), len(prompt) - 1)
        same = next((i for i in range(limit) if self._computed[i] != prompt[i]), limit)
        llama_cpp.llama_memory_seq_rm(self._memory, 0, same, -1)
        del self._computed[same:]
        return prompt[same:]

    def _decode(self, tokens: Tokens, is_stopped: Callable[[], bool]) -> bool:
        for start in range(0, len(tokens), _BATCH_TOKENS):
            if is_stopped():
                return False
            part = tokens[start : start + _BATCH_TOKENS]
            array = (ctypes.c_int32 * len(part))(*part)
            status = llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(array, len(part)))
            if status != 0:
                # What the memory holds now is unknown; the next prompt starts from nothing.
                llama_cpp.llama_memory_clear(self._memory, False)
                self._computed.clear()
                raise ModelError(f"llama.cpp could not compute the next tokens (status {status})")
            self._computed += part
        return not is_stopped()


def _sampler(options: GenerateOptions) -> Any:
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    if options.temperature <= 0:
        llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_greedy())
        return chain
    llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_top_p(options.top_p, 1))
    llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_temp(options.temperature))
    llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_dist(options.seed))
    return chain
