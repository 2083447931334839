"""What a person sees in the emulated Telegram chats, and the rules their texts obey."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiogram.types import InlineKeyboardMarkup, MessageEntity

TEXT_LIMIT = 4096
"""Source: https://core.telegram.org/bots/api#sendmessage, "1-4096 characters after entities parsing"."""

DRAFT_LIFE_S = 30.0
"""Source: https://core.telegram.org/bots/api#sendmessagedraft."""


class ApiError(Exception):
    """An answer with `ok` false."""

    def __init__(self, status: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.parameters = parameters


@dataclass(kw_only=True)
class Visible:
    """One message as it stands in a chat."""

    message_id: int
    chat_id: int
    text: str
    entities: list[dict[str, Any]] = field(default_factory=list)
    by_bot: bool = False
    reply_to: int | None = None
    thread: int | None = None
    date: int = field(default_factory=lambda: int(time.time()))
    edits: list[str] = field(default_factory=list)
    """Texts shown before the present one."""
    keyboard: list[list[dict[str, Any]]] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """Return the texts of the buttons below it."""
        return [button["text"] for row in self.keyboard for button in row]


@dataclass(kw_only=True)
class Draft:
    """A preview of a message that is being written."""

    text: str
    shown_at: float = field(default_factory=time.monotonic)


@dataclass
class Chat:
    """A chat and everything that happened in it."""

    chat_id: int
    kind: str = "private"
    messages: dict[int, Visible] = field(default_factory=dict)
    drafts: dict[int, Draft] = field(default_factory=dict)
    draft_texts: list[tuple[int, str]] = field(default_factory=list)
    """Every draft ever shown: draft id and text."""
    actions: list[str] = field(default_factory=list)
    blocked: bool = False
    moved_to: int | None = None
    next_id: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def as_json(self) -> dict[str, Any]:
        """Return the Bot API's Chat object."""
        names = {"first_name": "Person"} if self.kind == "private" else {"title": "Group"}
        return {"id": self.chat_id, "type": self.kind, **names}

    def check_open(self) -> None:
        """Refuse as Telegram does when the bot may not write here."""
        if self.moved_to is not None:
            text = "Bad Request: group chat was upgraded to a supergroup chat"
            raise ApiError(400, text, migrate_to_chat_id=self.moved_to)
        if self.blocked:
            who = "blocked by the user" if self.kind == "private" else f"kicked from the {self.kind} chat"
            raise ApiError(403, f"Forbidden: bot was {who}")

    def visible_draft(self) -> str | None:
        """Return the text of the preview a person sees now."""
        fresh = [draft for draft in self.drafts.values() if time.monotonic() - draft.shown_at < DRAFT_LIFE_S]
        return fresh[-1].text if fresh else None


def accept_keyboard(markup: InlineKeyboardMarkup | None) -> list[list[dict[str, Any]]]:
    """Return the buttons of a message.

    Raises: ApiError: one has no data, or more than 64 bytes of it.
    """
    rows = markup.inline_keyboard if markup else []
    for button in (one for row in rows for one in row):
        if not 1 <= len((button.callback_data or "").encode()) <= 64:
            raise ApiError(400, "Bad Request: BUTTON_DATA_INVALID")
    return [[button.model_dump(exclude_none=True) for button in row] for row in rows]


def utf16_length(text: str) -> int:
    """Count UTF-16 code units, the unit of every Telegram offset."""
    return len(text.encode("utf-16-le")) // 2


def accept_text(
    text: str, entities: Sequence[MessageEntity] | None, *, may_be_empty: bool = False
) -> tuple[str, list[dict[str, Any]]]:
    """Return the text as a chat shows it, trimmed, with its entities.

    Raises: ApiError: it is empty or too long, or an entity does not lie on whole characters of it.
    """
    units = text.encode("utf-16-le")
    for entity in entities or ():
        _check_entity(entity, units)
    # A space is trimmed in front of the first entity only: code keeps its indentation.
    first = min((entity.offset for entity in entities or ()), default=len(units) // 2)
    head = units[: first * 2].decode("utf-16-le")
    lead = len(head) - len(head.lstrip())
    kept = text[lead:].rstrip()
    if not kept.strip() and not may_be_empty:
        raise ApiError(400, "Bad Request: message text is empty")
    if utf16_length(kept) > TEXT_LIMIT:
        raise ApiError(400, "Bad Request: message is too long")
    cut = utf16_length(text[:lead])
    shown = [_clip(entity, cut, utf16_length(kept)) for entity in entities or ()]
    return kept, [entity for entity in shown if entity["length"] > 0]


def _check_entity(entity: MessageEntity, units: bytes) -> None:
    start, end = entity.offset * 2, (entity.offset + entity.length) * 2
    if entity.offset < 0 or entity.length <= 0 or end > len(units):
        raise ApiError(400, "Bad Request: can't parse entities: entity is outside of the text")
    for edge in (start, end):
        if edge < len(units) and 0xDC <= units[edge + 1] <= 0xDF:
            raise ApiError(
                400, "Bad Request: can't parse entities: entity begins in a middle of a UTF-16 symbol"
            )


def _clip(entity: MessageEntity, cut: int, length: int) -> dict[str, Any]:
    start = max(entity.offset - cut, 0)
    end = min(entity.offset + entity.length - cut, length)
    return entity.model_dump(exclude_none=True) | {"offset": start, "length": max(end - start, 0)}
