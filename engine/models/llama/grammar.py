"""A grammar that an answer has to keep to, run by llama.cpp."""

import ctypes
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.models.llama.gbnf import check_grammar
from engine.models.llama.library import llama_cpp
from engine.models.llama.vocabulary import Vocabulary
from hub.errors import OptionRefused

_LONGEST_STEP_S = 2.0
"""Of computing; a grammar that takes so long for one step takes longer for the next."""
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""`llama_token_data`."""


class Grammar:
    """The state of one answer in a grammar; belongs to one thread."""

    def __init__(self, vocabulary: Vocabulary, text: str) -> None:
        """Read a grammar in GBNF.

        Raises: OptionRefused: it is not one, or too large.
        """
        check_grammar(text)
        self._sampler: Any = llama_cpp.llama_sampler_init_grammar(
            vocabulary.pointer, text.encode("utf-8", "replace"), b"root"
        )
        if not self._sampler:
            raise OptionRefused("the grammar is not valid GBNF with a rule named root")

    def allows(self, tokens: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Tell which of these tokens may come next.

        Raises: OptionRefused: the grammar has become too slow to follow.
        """
        candidates = np.zeros(len(tokens), _CANDIDATE)
        candidates["id"] = tokens
        array = llama_cpp.llama_token_data_array(
            data=ctypes.cast(candidates.ctypes.data, llama_cpp.llama_token_data_p),
            size=len(candidates),
            selected=-1,
            sorted=False,
        )
        begun_s = time.thread_time()
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(array))
        _stop_if_slow(begun_s)
        is_allowed: NDArray[np.bool_] = np.isfinite(candidates["logit"])
        return is_allowed

    def accept(self, token: int) -> None:
        """Go on behind a token; it must be one that is allowed, or llama.cpp ends the process."""
        begun_s = time.thread_time()
        llama_cpp.llama_sampler_accept(self._sampler, token)
        _stop_if_slow(begun_s)

    def close(self) -> None:
        """Free it; nothing may be called afterwards."""
        if self._sampler:
            llama_cpp.llama_sampler_free(self._sampler)
            self._sampler = None


def _stop_if_slow(begun_s: float) -> None:
    if time.thread_time() - begun_s > _LONGEST_STEP_S:
        raise OptionRefused("the grammar goes on in more ways than can be followed")
