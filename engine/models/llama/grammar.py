"""A grammar that an answer has to keep to, run by llama.cpp."""

import ctypes
import re
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from engine.models.llama.vocabulary import Vocabulary
from hub.errors import OptionRefused

LONGEST_BYTES = 65_536
_DEEPEST = 48
_LARGEST_REPETITION = 1_000

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""`llama_token_data`."""
_IGNORED = re.compile(r"#[^\n]*|\"(?:[^\"\\]|\\.)*\"|\[(?:[^\]\\]|\\.)*\]", re.DOTALL)


class Grammar:
    """The state of one answer in a grammar; belongs to one thread."""

    def __init__(self, vocabulary: Vocabulary, text: str) -> None:
        """Read a grammar in GBNF.

        Raises: OptionRefused: it is not one, or too large.
        """
        _check(text)
        self._sampler: Any = llama_cpp.llama_sampler_init_grammar(
            vocabulary.pointer, text.encode("utf-8", "replace"), b"root"
        )
        if not self._sampler:
            raise OptionRefused("the grammar is not valid GBNF with a rule named root")

    def allows(self, tokens: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Tell which of these tokens may come next."""
        candidates = np.zeros(len(tokens), _CANDIDATE)
        candidates["id"] = tokens
        array = llama_cpp.llama_token_data_array(
            data=ctypes.cast(candidates.ctypes.data, llama_cpp.llama_token_data_p),
            size=len(candidates),
            selected=-1,
            sorted=False,
        )
        llama_cpp.llama_sampler_apply(self._sampler, ctypes.byref(array))
        is_allowed: NDArray[np.bool_] = np.isfinite(candidates["logit"])
        return is_allowed

    def accept(self, token: int) -> None:
        """Go on behind a token; it must be one that is allowed, or llama.cpp ends the process."""
        llama_cpp.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        """Free it; nothing may be called afterwards."""
        if self._sampler:
            llama_cpp.llama_sampler_free(self._sampler)
            self._sampler = None


def _check(text: str) -> None:
    # llama.cpp reads nested groups by recursion, and writes a repetition out.
    if len(text.encode("utf-8", "replace")) > LONGEST_BYTES:
        raise OptionRefused(f"the grammar is longer than {LONGEST_BYTES} bytes")
    if "\0" in text:
        raise OptionRefused("the grammar holds a null character")
    bare = _IGNORED.sub(" ", text)
    depth = 0
    for mark in re.findall(r"[()]", bare):
        depth += 1 if mark == "(" else -1
        if depth > _DEEPEST:
            raise OptionRefused(f"the grammar nests more than {_DEEPEST} groups")
    for counts in re.findall(r"\{([\d\s,]*)\}", bare):
        if any(len(count) > 4 or int(count) > _LARGEST_REPETITION for count in re.findall(r"\d+", counts)):
            raise OptionRefused(f"the grammar repeats something more than {_LARGEST_REPETITION} times")
