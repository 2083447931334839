"""The parts of an update that are looked at before aiogram sees them: it takes "5", 5.0 and true for an id."""

import re
import time
from typing import Any

from aiogram.types import Message, Update
from pydantic import ValidationError

from connectors.telegram.events import Membership, Place, Pressed
from connectors.telegram.strict_json import Unreadable
from hub.text import language_tag

MAX_ENTITIES = 200
"""Telegram itself sends at most 100; more are dropped unread."""
_QUERY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_AWAY = frozenset({"left", "kicked"})


def update_id_of(data: dict[str, Any]) -> int:
    """Return the id of an update.

    Raises: Unreadable: it is no positive integer.
    """
    update_id = data.get("update_id")
    if type(update_id) is not int or not 0 <= update_id < 2**63:
        raise Unreadable("update_id is not a positive integer")
    return update_id


def message_of(data: dict[str, Any], kind: str) -> Message:
    """Return the message of an update of this kind.

    Raises: Unreadable: it does not obey the Bot API.
    """
    raw = data[kind]
    _chat_id(raw, "message")
    if type(raw.get("message_id")) is not int or type(raw.get("date")) is not int:
        raise Unreadable("message without id or date")
    for name in ("entities", "caption_entities"):
        if isinstance(raw.get(name), list) and len(raw[name]) > MAX_ENTITIES:
            del raw[name]
    try:
        message = getattr(Update.model_validate(_without_surrogates(data)), kind)
    except (ValidationError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Unreadable("not a message of the Bot API") from error
    assert isinstance(message, Message)
    return message


def stop_of(raw: Any) -> Place:
    """Return where the button below a growing draft was pressed.

    Raises: Unreadable: it does not say in which chat.
    """
    chat, topic = _chat_id(raw, "stop"), raw.get("message_thread_id")
    if type(topic) not in (int, type(None)):
        raise Unreadable("a stop without topic")
    return Place(chat=chat, topic=topic, private=True)


def membership_of(raw: Any) -> Membership:
    """Return what became of the bot in a chat.

    Raises: Unreadable: chat or status are missing.
    """
    chat, member = _chat_id(raw, "membership"), raw.get("new_chat_member")
    status = member.get("status") if isinstance(member, dict) else None
    if not isinstance(status, str):
        raise Unreadable("membership without status")
    at = raw.get("date")
    away = status in _AWAY or (status == "restricted" and member.get("is_member") is False)
    return Membership(chat, not away, at if type(at) is int else int(time.time()))


def pressed_of(raw: Any, key: str) -> Pressed:
    """Return which button was pressed by whom.

    Raises: Unreadable: it has no id or no sender.
    """
    sender = raw.get("from") if isinstance(raw, dict) else None
    query_id = raw.get("id") if isinstance(raw, dict) else None
    if not isinstance(query_id, str) or not _QUERY_ID.fullmatch(query_id):
        raise Unreadable("a pressed button without id")
    if not isinstance(sender, dict) or type(sender.get("id")) is not int:
        raise Unreadable("a pressed button without sender")
    message, data, language = raw.get("message"), raw.get("data"), sender.get("language_code")
    message = message if isinstance(message, dict) else {}
    return Pressed(
        query_id=query_id,
        key=key,
        person=str(sender["id"]),
        language=language_tag(language) if isinstance(language, str) else "",
        data=data if isinstance(data, str) else "",
        place=_place_of(message),
        message_id=message["message_id"] if type(message.get("message_id")) is int else 0,
        has_sources=_has_sources(message.get("reply_markup")),
    )


def _place_of(message: dict[str, Any]) -> Place | None:
    chat = message.get("chat")
    if not isinstance(chat, dict) or type(chat.get("id")) is not int:
        return None
    topic = message.get("message_thread_id") if message.get("is_topic_message") is True else None
    return Place(
        chat=chat["id"],
        topic=topic if type(topic) is int else None,
        private=chat.get("type") == "private",
    )


def _has_sources(markup: Any) -> bool:
    rows = markup.get("inline_keyboard") if isinstance(markup, dict) else None
    buttons = [one for row in rows if isinstance(row, list) for one in row] if isinstance(rows, list) else []
    return any(
        isinstance(one, dict) and str(one.get("callback_data", "")).startswith("s:") for one in buttons
    )


def _chat_id(raw: Any, what: str) -> int:
    chat = raw.get("chat") if isinstance(raw, dict) else None
    if not isinstance(chat, dict) or type(chat.get("id")) is not int:
        raise Unreadable(f"{what} without chat")
    return int(chat["id"])


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return (
            value
            if value.isascii()
            else value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        )
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
    return value
