"""The tokens of a GGUF model: text to tokens and back, and which of them have a meaning of their own."""

import ctypes
import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.models.llama.library import llama_cpp
from hub.errors import ModelError

Tokens = NDArray[np.int32]

_PIECE_BYTES = 512
_METADATA_BYTES = 16_384
_KV_BYTES = {"f16": 2.0, "q8_0": 34 / 32}
"""Of one number of a context; a block of q8_0 holds 32 numbers and their scale."""
_ANCHOR = "\n"
"""What a continued text is put behind: a line break never becomes one token with the letters that follow."""


class Vocabulary:
    """The vocabulary of a loaded model, which must outlive it; safe on any thread."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._vocabulary = llama_cpp.llama_model_get_vocab(model)
        self._pieces: dict[int, bytes] = {}
        self.size: int = llama_cpp.llama_vocab_n_tokens(self._vocabulary)
        self.adds_bos: bool = llama_cpp.llama_vocab_get_add_bos(self._vocabulary)
        self.bos_token: int = llama_cpp.llama_vocab_bos(self._vocabulary)
        """-1 when the model has none."""
        self.bos = self._spelling(self.bos_token)
        self.eos = self._spelling(llama_cpp.llama_vocab_eos(self._vocabulary))

    @property
    def pointer(self) -> Any:
        """What llama.cpp's own functions take."""
        return self._vocabulary

    @cached_property
    def chat_template(self) -> str:
        """The template that came with the model; empty when there is none."""
        text: bytes | None = llama_cpp.llama_model_chat_template(self._model, None)
        return (text or b"").decode("utf-8", "replace")

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end the model's message."""
        is_end: Callable[[Any, int], bool] = llama_cpp.llama_vocab_is_eog
        return frozenset(token for token in range(self.size) if is_end(self._vocabulary, token))

    @cached_property
    def silent_tokens(self) -> Tokens:
        """Tokens without text that do not end a message: what controls a prompt, and ids nothing uses."""
        silent = (token for token in range(self.size) if not self.piece(token))
        return np.array([token for token in silent if token not in self.end_tokens], np.int32)

    def metadata(self, key: str) -> str:
        """Return what the file says about a key, lists as JSON; empty when it says nothing."""
        buffer = ctypes.create_string_buffer(_METADATA_BYTES)
        size = llama_cpp.llama_model_meta_val_str(self._model, key.encode(), buffer, _METADATA_BYTES)
        return buffer.value.decode("utf-8", "replace") if size >= 0 else ""

    @property
    def context_length(self) -> int:
        """Tokens that the model was made for; 0 where its file does not say."""
        return (self._numbers("context_length") or [0])[0]

    def kv_bytes_per_token(self, kv_type: str) -> int:
        """Tell what a context takes for each of its tokens.

        From the file's own words, because llama.cpp aborts the process when a vocabulary is asked for layers and heads.
        """
        (layers,) = self._numbers("block_count") or [0]
        (heads,) = self._numbers("attention.head_count")[:1] or [1]
        kv_heads = self._numbers("attention.head_count_kv") or [heads]
        (embedding,) = self._numbers("embedding_length") or [0]
        (width,) = self._numbers("attention.key_length") or [embedding // max(1, heads)]
        (value_width,) = self._numbers("attention.value_length") or [width]
        # Most models have the same heads in every layer; the others say it layer by layer.
        all_heads = sum(kv_heads) if len(kv_heads) > 1 else kv_heads[0] * layers
        return int(all_heads * (width + value_width) * _KV_BYTES[kv_type])

    def _numbers(self, key: str) -> list[int]:
        text = self.metadata(f"{self.metadata('general.architecture')}.{key}")
        return [int(part) for part in text.strip("[]").split(",") if part.strip().isdecimal()]

    def tokenize(self, text: str, *, is_template: bool, continues: bool = False) -> Tokens:
        """Turn text into tokens, without BOS or EOS.

        Args:
            text: any text; what is not valid Unicode is replaced.
            is_template: whether special tokens spelt in the text become special tokens; in data they stay text.
            continues: whether other text stands right before it, so that a vocabulary that begins every text
                with a space does not do so here.
        """
        if not is_template and (parts := self._unmarked(text)):
            return np.concatenate(
                [self._part(part, False, continues or at > 0) for at, part in enumerate(parts)]
            )
        return self._part(text, is_template, continues)

    def _part(self, text: str, is_template: bool, continues: bool) -> Tokens:
        if not (continues and text and self._begins_with_space):
            return self._tokens(text, is_template)
        anchor = self._tokens(_ANCHOR, is_template)
        tokens = self._tokens(_ANCHOR + text, is_template)
        if len(tokens) > len(anchor) and np.array_equal(tokens[: len(anchor)], anchor):
            return tokens[len(anchor) :]
        return self._tokens(text, is_template)

    def piece(self, token: int) -> bytes:
        """Return a token's bytes, which need not be whole characters; none for a special token."""
        if (known := self._pieces.get(token)) is None:
            known = self._pieces[token] = self._bytes(token, is_special=False)
        return known

    def _unmarked(self, text: str) -> list[str]:
        """Cut a text within each mark of the vocabulary; nothing where it holds none.

        llama.cpp's switch leaves tokens such as <tool_call> alone, which files call user-defined and not special:
        it reads them in any text.
        """
        parts: list[str] = []
        while self._marks and (mark := self._marks.search(text)):
            cut = mark.start() + 1
            parts.append(text[:cut])
            text = text[cut:]
        return [*parts, text] if parts else []

    @cached_property
    def _marks(self) -> re.Pattern[str] | None:
        """What finds a user-defined token in a text; runs of blanks are harmless."""
        defined: int = llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
        texts = [
            self._spelling(token)
            for token in range(self.size)
            if llama_cpp.llama_vocab_get_attr(self._vocabulary, token) & defined
        ]
        marks = sorted(
            (re.escape(text) for text in texts if len(text) > 1 and text.strip()), key=len, reverse=True
        )
        return re.compile("|".join(marks)) if marks else None

    @cached_property
    def _begins_with_space(self) -> bool:
        first = self._tokens("a", is_template=False)
        return bool(len(first)) and self._bytes(int(first[0]), is_special=False).startswith(b" ")

    def _tokens(self, text: str, is_template: bool) -> Tokens:
        data = text.encode("utf-8", "replace")
        # No text has more tokens than bytes, but for a space in front.
        tokens = np.empty(len(data) + 8, np.int32)
        room = tokens.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        count = llama_cpp.llama_tokenize(
            self._vocabulary, data, len(data), room, len(tokens), False, is_template
        )
        if count < 0:
            raise ModelError("the text could not be turned into tokens")
        return tokens[:count].copy()

    def _bytes(self, token: int, *, is_special: bool) -> bytes:
        buffer = ctypes.create_string_buffer(_PIECE_BYTES)
        size = llama_cpp.llama_token_to_piece(self._vocabulary, token, buffer, _PIECE_BYTES, 0, is_special)
        return buffer.raw[: max(size, 0)]

    def _spelling(self, token: int) -> str:
        return self._bytes(token, is_special=True).decode("utf-8", "replace") if token >= 0 else ""
