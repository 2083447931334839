"""Buttons below messages: what they say, and what comes back when one is pressed.

The data of a button is bound to its conversation by a code, so that nobody can name a turn of another chat.
"""

import base64
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup

from connectors.telegram.phrases import phrases

MAX_DATA_BYTES = 64
"""Source: https://core.telegram.org/bots/api#inlinekeyboardbutton."""
MAX_MODELS = 30
CODE_BYTES = 12

Action = Literal["up", "down", "sources", "model"]
_LETTERS: dict[str, Action] = {"u": "up", "d": "down", "s": "sources", "m": "model"}
_DATA = re.compile(r"([udsm]):([A-Za-z0-9_-]{1,44}):([A-Za-z0-9_-]{16})")
_THUMBS = {"up": "👍", "down": "👎"}


@dataclass(frozen=True, slots=True)
class Button:
    """A button that this hub has made for the conversation in which it was pressed."""

    action: Action
    about: str
    """A turn; of `model`, the `model_mark` of one."""


class Buttons:
    """Makes buttons and reads them.

    Args:
        secret: what every process of the hub knows and nobody else, such as the bot's token.
    """

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"hubbub telegram buttons", "sha256")

    def below_answer(
        self,
        conversation: str,
        turn: str,
        *,
        language: str,
        votes: Mapping[str, str] | None,
        private: bool,
        sources: bool,
    ) -> InlineKeyboardMarkup | None:
        """Return what stands below an answer; None when that is nothing.

        Args:
            votes: `up` or `down` by person; None where nobody wants to know.
            private: whether there is only one person who can have voted.
        """
        row = []
        if votes is not None:
            counts = Counter(votes.values())
            for value, thumb in _THUMBS.items():
                count = counts[value]
                chosen = (" ✓" if private else f" {count}") if count else ""
                row.append(self._button(f"{thumb}{chosen}", value[0], turn, conversation))
        if sources:
            row.append(self._button(phrases(language).sources, "s", turn, conversation))
        usable = [button for button in row if len(button.callback_data or "") <= MAX_DATA_BYTES]
        return InlineKeyboardMarkup(inline_keyboard=[usable]) if usable else None

    def models(
        self, conversation: str, names: Sequence[str], chosen: str = ""
    ) -> InlineKeyboardMarkup | None:
        """Return one button for each model; None when there is no choice."""
        rows = [
            [self._button(f"{name} ✓" if name == chosen else name, "m", model_mark(name), conversation)]
            for name in names[:MAX_MODELS]
        ]
        return InlineKeyboardMarkup(inline_keyboard=rows) if len(rows) > 1 else None

    def read(self, data: str, conversation: str) -> Button | None:
        """Return the button with this data; None when it was not made here for this conversation."""
        found = _DATA.fullmatch(data)
        if found is None or len(data) > MAX_DATA_BYTES:
            return None
        letter, about, code = found.groups()
        if not hmac.compare_digest(code, self._code(letter, about, conversation)):
            return None
        return Button(_LETTERS[letter], about)

    def _button(self, text: str, letter: str, about: str, conversation: str) -> InlineKeyboardButton:
        code = self._code(letter, about, conversation)
        return InlineKeyboardButton(text=text, callback_data=f"{letter}:{about}:{code}")

    def _code(self, letter: str, about: str, conversation: str) -> str:
        signed = "\x1f".join((letter, about, conversation)).encode()
        return _base64(hmac.digest(self._key, signed, "sha256")[:CODE_BYTES])


def model_mark(name: str) -> str:
    """Return what stands for a model in a button; names may be longer than a button's data."""
    return _base64(hashlib.sha256(name.encode()).digest()[:9])


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()
