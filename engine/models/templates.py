"""From messages to tokens: the template's pieces may hold special tokens, the texts of people never do."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.models.base import ChatMessage, Prompt
from engine.profiles import ChatTemplate
from hub.errors import ModelError

Tokens = NDArray[np.int32]

_CACHED_CHARACTERS = 4_000_000
_LONGEST_CACHED = 200_000


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the model reads it."""

    tokens: Tokens
    """int32, shape (n,); not to be changed."""
    shared: int
    """The first so many tokens hold nobody's own text."""


class PromptTokenizer(Protocol):
    """Turns prompts into tokens; safe on any thread, the event loop's included."""

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """Count the tokens of a prompt, template included.

        Raises: ModelError: the template cannot hold these messages.
        """

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """Turn a prompt into tokens.

        Raises: ModelError: the prompt is empty, or the template cannot hold its messages.
        """


class Tokenize(Protocol):
    """How a vocabulary turns a part of a prompt into tokens, without BOS or EOS."""

    def __call__(self, text: str, *, is_template: bool, continues: bool = False) -> Tokens:
        """Return int32, shape (n,).

        Args:
            text: a part of the prompt.
            is_template: whether special tokens spelt in it become special tokens.
            continues: whether another part stands before it.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """The place of a message's text among the pieces of a template."""

    message: int
    """Position of the message."""
    trims_start: bool = False
    trims_end: bool = False


Piece = str | Insert
"""A text of the template's own, or the place of a message's."""


class MessageTemplate(Protocol):
    """How messages are put together for a model; safe on any thread."""

    def pieces(self, messages: Sequence[ChatMessage]) -> tuple[Piece, ...]:
        """Return what stands between and around the texts, up to where the assistant's next message begins.

        Raises: ModelError: the template cannot hold these messages.
        """


class ProfileTemplate:
    """The template of a prompt profile: the same pieces around every message."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template

    def pieces(self, messages: Sequence[ChatMessage]) -> tuple[Piece, ...]:
        """Return the pieces around each message, and the one that opens the assistant's."""
        pieces: list[Piece] = []
        between = ""
        for position, message in enumerate(messages):
            pieces.append(between + self._template.open(message.role))
            pieces.append(Insert(message=position))
            between = self._template.closing
        return (*pieces, between + self._template.open("assistant"))


class TemplateTokenizer:
    """Joins a template with a vocabulary; texts that come again are not turned into tokens again."""

    def __init__(
        self, template: MessageTemplate, tokenize: Tokenize, *, bos_token: int, adds_bos: bool
    ) -> None:
        """Join them.

        Args:
            template: puts messages together.
            tokenize: turns each part into tokens.
            bos_token: -1 when the model has none.
            adds_bos: whether every prompt begins with it, though the template may say nothing of it.
        """
        self._template = template
        self._bos_token = bos_token
        self._begin = np.array([bos_token] if adds_bos and bos_token >= 0 else [], np.int32)
        self._tokens = _Memory(tokenize)

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """Count the tokens of a prompt, template included."""
        return len(self.encode(Prompt(messages=tuple(messages))).tokens)

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """Turn a prompt into tokens; BOS stands there once, whoever puts it."""
        if not prompt.messages:
            parts, shared = [self._tokens(prompt.text, False, False)], 0
        else:
            parts, shared = self._parts(prompt)
        body = np.concatenate(parts)
        skipped = self._bos_count(body)
        begin = self._begin if not skipped else body[:1]
        tokens = np.concatenate([begin, body[skipped:]])
        if not len(tokens):
            raise ModelError("the prompt is empty")
        tokens.flags.writeable = False
        return EncodedPrompt(tokens, max(0, shared - skipped + len(begin)) if shared else 0)

    def _parts(self, prompt: Prompt) -> tuple[list[Tokens], int]:
        parts: list[Tokens] = []
        shared = -1
        for is_template, text, message in _with_texts(
            self._template.pieces(prompt.messages), prompt.messages
        ):
            if shared < 0 and message >= prompt.shared:
                shared = sum(map(len, parts))
            parts.append(self._tokens(text, is_template, bool(parts)))
        return parts, sum(map(len, parts)) if shared < 0 else shared

    def _bos_count(self, tokens: Tokens) -> int:
        is_other = tokens != self._bos_token
        return int(is_other.argmax()) if is_other.any() else 0


def _with_texts(pieces: Sequence[Piece], messages: Sequence[ChatMessage]) -> list[tuple[bool, str, int]]:
    """Put the texts in their places.

    Returns: whether it is the template's, the text, and the message it is of (-1: none).
    """
    parts: list[tuple[bool, str, int]] = []
    for piece in pieces:
        if isinstance(piece, str):
            parts.append((True, piece, -1))
            continue
        text = messages[piece.message].text
        text = text.lstrip() if piece.trims_start else text
        text = text.rstrip() if piece.trims_end else text
        if text and parts and parts[-1][0] and parts[-1][1].endswith(" "):
            # Vocabularies have words with the space before them; a space of its own is what no model has read.
            parts[-1] = (True, parts[-1][1][:-1], -1)
            text = f" {text}"
        parts.append((False, text, piece.message))
    return [part for part in parts if part[1]]


class _Memory:
    """Tokens of recent parts, up to a number of characters in all."""

    def __init__(self, tokenize: Callable[..., Tokens]) -> None:
        self._tokenize = tokenize
        self._known: OrderedDict[tuple[str, bool, bool], Tokens] = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()

    def __call__(self, text: str, is_template: bool, continues: bool) -> Tokens:
        key = (text, is_template, continues)
        with self._lock:
            if (known := self._known.get(key)) is not None:
                self._known.move_to_end(key)
                return known
        tokens = self._tokenize(text, is_template=is_template, continues=continues)
        tokens.flags.writeable = False
        if len(text) <= _LONGEST_CACHED:
            self._keep(key, tokens)
        return tokens

    def _keep(self, key: tuple[str, bool, bool], tokens: Tokens) -> None:
        with self._lock:
            if key in self._known:
                return
            self._known[key] = tokens
            self._characters += len(key[0])
            while self._characters > _CACHED_CHARACTERS:
                (text, *_), _ = self._known.popitem(last=False)
                self._characters -= len(text)
