"""One llama.cpp context: batches in, logits out, and what it remembers of each sequence.

Everything but `abort` belongs to one thread: a llama.cpp context used by two crashes the process.
"""

import ctypes
import sys
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.models.llama.adapters import set_adapters
from engine.models.llama.batch import Batch
from engine.models.llama.library import llama_cpp
from engine.models.llama.weights import LlamaWeights
from hub.errors import ModelError
from hub.model_settings import AdapterSettings

DONE: Final = 0
NO_ROOM: Final = 1
"""Nothing was changed."""
ABORTED: Final = 2
"""Some tokens of the batch may be computed."""
REFUSED: Final = -1
"""The batch itself is wrong; nothing was changed."""

_BYTES = ctypes.POINTER(ctypes.c_uint8)
_KV_TYPES = {"f16": llama_cpp.GGML_TYPE_F16, "q8_0": llama_cpp.GGML_TYPE_Q8_0}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextSettings:
    """How much a context holds and how it computes."""

    context_length: int
    """Tokens of one sequence."""
    parallel: int
    """Sequences, at most 256."""
    batch_tokens: int
    """Most tokens of one step."""
    output_rows: int
    """Most rows of logits of one step."""
    threads: int
    kv_type: str = "f16"
    adapters: tuple[AdapterSettings, ...] = ()


class LlamaContext:
    """A context with one buffer of its own for each sequence."""

    def __init__(self, weights: LlamaWeights, settings: ContextSettings) -> None:
        adapters = [weights.adapter(adapter) for adapter in settings.adapters]
        self.settings = settings
        self._weights = weights
        self._context = llama_cpp.llama_init_from_model(weights.pointer, _parameters(settings))
        if not self._context:
            raise ModelError(
                f"there is no memory for {settings.parallel} contexts of {settings.context_length} tokens"
                f" of {weights.path}"
            )
        try:
            set_adapters(self._context, adapters)
        except BaseException:
            self.close()
            raise
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._moving: set[int] = set()
        self._logits = np.empty((0, 0), np.float32)
        self._logits_address = 0
        # Asked thousands of times in a step, so not a Python function, which would want the interpreter each time:
        # the C function that gives 0 for an empty string and 1 for one of one character.
        self._abort_flag = ctypes.create_string_buffer(2)
        self._is_aborted = ctypes.cast(_c_library().strlen, llama_cpp.ggml_abort_callback)
        llama_cpp.llama_set_abort_callback(
            self._context, self._is_aborted, ctypes.cast(self._abort_flag, ctypes.c_void_p)
        )

    @property
    def is_cuttable(self) -> bool:
        """Whether the end of a sequence can be forgotten without all of it."""
        return self._weights.is_cuttable

    @property
    def token_bytes(self) -> int:
        """What one token of a sequence takes."""
        return self._weights.vocabulary.kv_bytes_per_token(self.settings.kv_type)

    @property
    def sequence_bytes(self) -> int:
        """The buffer of one sequence, which a copy moves as a whole."""
        return self.token_bytes * int(llama_cpp.llama_n_ctx_seq(self._context))

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """What must be the same where a saved sequence is restored."""
        return (str(self._weights.path), self._weights.size_bytes, self.settings)

    def close(self) -> None:
        """Free the context's memory; nothing may be called afterwards."""
        llama_cpp.llama_free(self._context)

    def decode(self, batch: Batch) -> int:
        """Compute a batch; returns one of the constants above, or another negative number when all is lost."""
        status = int(llama_cpp.llama_decode(self._context, batch.raw))
        if status == DONE:
            llama_cpp.llama_synchronize(self._context)
        if status != REFUSED:
            self._moving.clear()
        return status

    def abort(self) -> None:
        """Let the running `decode` end at once; safe on any thread."""
        self._abort_flag[0] = b"\x01"

    def allow(self) -> None:
        """Take `abort` back before the next step."""
        self._abort_flag[0] = b"\x00"

    def logits(self, rows: int) -> NDArray[np.float32]:
        """Return the rows of the last batch in the order they were asked for.

        Returns: float32, shape (rows, size of the vocabulary); may be changed; valid until the next `decode`.
        """
        pointer = llama_cpp.llama_get_logits(self._context)
        address = ctypes.addressof(pointer.contents)
        if address != self._logits_address:
            # It stays where it is, and to make an array of a pointer takes longer than to choose a token.
            shape = (self.settings.output_rows, self._weights.vocabulary.size)
            self._logits, self._logits_address = np.ctypeslib.as_array(pointer, shape=shape), address
        return self._logits[:rows]

    def cut(self, sequence: int, keep: int) -> None:
        """Forget what a sequence holds from position `keep` on."""
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, keep, -1)

    def copy(self, source: int, target: int, keep: int) -> None:
        """Give an empty sequence the first `keep` tokens of another."""
        # Between buffers only whole sequences can be copied (anything else ends the process), and they are copied
        # by the next step, not now.
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self._moving |= {source, target}
        self.cut(target, keep)

    @property
    def copies(self) -> int:
        """Copies that the next step will make."""
        return len(self._moving) // 2

    def is_moving(self, sequence: int) -> bool:
        """Whether a copy from or to it waits for the next step: until then it can be neither saved nor restored."""
        return sequence in self._moving

    def clear(self) -> None:
        """Forget all sequences."""
        llama_cpp.llama_memory_clear(self._memory, False)
        self._moving.clear()

    def save(self, sequence: int) -> NDArray[np.uint8] | None:
        """Return what was computed of a sequence, as bytes; None when llama.cpp gives less than it promised."""
        size = llama_cpp.llama_state_seq_get_size(self._context, sequence)
        data = np.empty(size, np.uint8)
        written = llama_cpp.llama_state_seq_get_data(
            self._context, data.ctypes.data_as(_BYTES), size, sequence
        )
        return data if written == size else None

    def restore(self, sequence: int, data: NDArray[np.uint8]) -> bool:
        """Put saved bytes into an empty sequence; False leaves it empty."""
        size = len(data)
        read = llama_cpp.llama_state_seq_set_data(self._context, data.ctypes.data_as(_BYTES), size, sequence)
        if read != size:
            self.cut(sequence, 0)
        return bool(read == size)


def _parameters(settings: ContextSettings) -> Any:
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = settings.context_length * settings.parallel
    parameters.n_seq_max = settings.parallel
    parameters.n_batch = parameters.n_ubatch = settings.batch_tokens
    parameters.n_outputs_max = settings.output_rows
    parameters.n_threads = parameters.n_threads_batch = settings.threads
    parameters.type_k = parameters.type_v = _KV_TYPES[settings.kv_type]
    parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO
    # A buffer for each sequence: attention then looks at the tokens of one conversation only.
    parameters.kv_unified = False
    parameters.no_perf = True
    return parameters


def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)
