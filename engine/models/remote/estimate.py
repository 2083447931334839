"""Guesses how many tokens a text has, where the vocabulary lies on another server."""

import re
from collections.abc import Sequence

from engine.models.base import ChatMessage

TOKENS_PER_MESSAGE = 6
"""What a chat template writes around a message, its role included."""
TOKENS_OF_THE_TURN = 4
"""What opens the assistant's turn."""

_PIECES = re.compile(r" ?[A-Za-z]+| ?[0-9]+|\s+| ?[^\sA-Za-z0-9]+")
"""How vocabularies of byte pairs cut a text before they join bytes; what is no ASCII letter or digit in one piece."""
_LETTERS_OF_A_WORD = 6
"""So long a word of English is mostly one token."""
_LETTERS_OF_A_PART = 3
_LETTERS_KNOWN = 12
"""Longer ones are compounds, codes or keys, of which a vocabulary knows short parts only."""


def estimate_text(text: str) -> int:
    """Guess the tokens of a text; rather too many than too few."""
    return sum(_of_piece(piece) for piece in _PIECES.findall(text))


def estimate_messages(messages: Sequence[ChatMessage]) -> int:
    """Guess the tokens of a prompt, template included."""
    texts = sum(estimate_text(message.text) + TOKENS_PER_MESSAGE for message in messages)
    return texts + TOKENS_OF_THE_TURN


def _of_piece(piece: str) -> int:
    core = piece.lstrip(" ") or piece
    if core.isspace():
        return 1 + core.count("\n") // 2
    if core.isascii() and core.isalpha():
        return _of_word(core)
    if core.isascii():
        return len(core) if core.isdigit() else -(-2 * len(core) // 3)
    # Other scripts: letters of two bytes are mostly known, of the rest about every second byte is a token.
    return sum(1 if ord(letter) < 0x800 else 2 for letter in core)


def _of_word(word: str) -> int:
    longer = min(max(0, len(word) - _LETTERS_OF_A_WORD), _LETTERS_KNOWN - _LETTERS_OF_A_WORD)
    parts = -(-longer // _LETTERS_OF_A_PART)
    # Capitals inside a word, as in names of code and shouting, are cut more often.
    capitals = sum(letter.isupper() for letter in word[1:])
    return 1 + max(parts, -(-capitals // 2)) + max(0, len(word) - _LETTERS_KNOWN) // 2
