"""What Telegram delivers: an update read strictly and turned into what the hub does with it."""

import re
import time
from typing import Any

from aiogram.enums import ContentType
from aiogram.types import Message, MessageOriginUser, Update

from connectors.telegram import raw
from connectors.telegram.events import (
    Event,
    Ignored,
    Incoming,
    Me,
    Moved,
    Place,
    RemoteFile,
    WithoutText,
)
from connectors.telegram.strict_json import Unreadable
from hub.messages import Address, InboundMessage, conversation_id
from hub.text import language_tag, normalise, without_unsafe

MAX_TEXT_UNITS = 8_192
"""Telegram itself cannot send more than 4,096; a longer text is forged."""
MAX_QUOTED_CHARS = 4_096
MAX_NAME_CHARS = 200
OLDEST_EDIT_S = 48 * 3600.0
"""An answer that is older cannot be edited any more. Source: https://core.telegram.org/bots/api#updating-messages."""

_COMMAND = re.compile(r"/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]{2,64}))?(?=\s|$)")
_MEDIA_TYPE = re.compile(r"[a-z0-9]+/[a-z0-9.+_-]+")

WITH_FILE = frozenset(
    {
        ContentType.ANIMATION,
        ContentType.AUDIO,
        ContentType.DOCUMENT,
        ContentType.LIVE_PHOTO,
        ContentType.PAID_MEDIA,
        ContentType.PHOTO,
        ContentType.VIDEO,
        ContentType.VOICE,
    }
)
"""What may carry a caption."""
WITHOUT_TEXT = WITH_FILE | {
    ContentType.CHECKLIST,
    ContentType.CONTACT,
    ContentType.DICE,
    ContentType.GAME,
    ContentType.LOCATION,
    ContentType.POLL,
    ContentType.STICKER,
    ContentType.STORY,
    ContentType.VENUE,
    ContentType.VIDEO_NOTE,
}
"""What people send; everything else without text is a service message."""


def read(data: dict[str, Any], me: Me, *, stream: bool) -> Event:
    """Turn one update into what the hub does with it.

    Raises: Unreadable: it does not obey the Bot API.
    """
    key = f"tg:{me.bot_id}:{raw.update_id_of(data)}"
    kinds = [name for name in data if name != "update_id"]
    if len(kinds) > 1:
        raise Unreadable("more than one kind of update")
    kind = kinds[0] if kinds else ""
    match kind:
        case "message" | "edited_message":
            return _read_message(raw.message_of(data, kind), key, me, stream, is_edit=kind != "message")
        case "stopped_message_generation":
            return _read_stop(raw.stop_of(data[kind]), key, me)
        case "my_chat_member":
            return raw.membership_of(data[kind])
        case "callback_query":
            return raw.pressed_of(data[kind], key)
    return Ignored(kind if kind in Update.model_fields else "unknown_kind")


def message_at(place: Place, text: str, *, key: str, me: Me, person: str) -> InboundMessage:
    """Return what somebody says at a place."""
    return InboundMessage(
        external_key=key,
        conversation=conversation_at(me.bot_id, place.chat, place.topic),
        address=Address(
            connector="telegram",
            account=str(me.bot_id),
            chat=str(place.chat),
            thread=str(place.topic) if place.topic is not None else "",
            person=person,
            is_group=not place.private,
            # Telegram tells who writes, but for those who write in the name of a chat.
            is_verified=not person.startswith("chat:"),
        ),
        text=text,
    )


def conversation_at(bot_id: int, chat: int, topic: int | None) -> str:
    """Name the conversation of a chat or of one of its topics."""
    return conversation_id("telegram", str(bot_id), str(chat), *([str(topic)] if topic is not None else []))


def _read_stop(place: Place, key: str, me: Me) -> Incoming:
    """Read the button below a growing draft as the command that says the same."""
    stop = message_at(place, "/stop", key=key, me=me, person=str(place.chat))
    return Incoming(message=stop, place=place, message_id=0)


def _read_message(message: Message, key: str, me: Me, stream: bool, *, is_edit: bool) -> Event:
    if message.migrate_to_chat_id:
        return Moved(message.chat.id, message.migrate_to_chat_id)
    if message.migrate_from_chat_id:
        return Moved(message.migrate_from_chat_id, message.chat.id)
    if message.from_user and message.from_user.is_bot and message.sender_chat is None:
        return Ignored("bot")
    text = message.text or message.caption or ""
    if len(text) * 2 > MAX_TEXT_UNITS and len(text.encode("utf-16-le")) // 2 > MAX_TEXT_UNITS:
        raise Unreadable("text is longer than Telegram allows")
    if is_edit and time.time() - message.date.timestamp() > OLDEST_EDIT_S:
        return Ignored("old_edit")
    event = _read_content(message, text, key, me, stream)
    if not is_edit or isinstance(event, Ignored):
        return event
    if not isinstance(event, Incoming):
        return Ignored("edit_without_text")
    # The answer takes the place of an earlier one; a draft would stand beside it.
    edit = event.message.model_copy(update={"replaces": event.message.origin, "stream": False})
    return event.model_copy(update={"message": edit})


def _read_content(message: Message, text: str, key: str, me: Me, stream: bool) -> Event:
    place, file, album = _place(message), _file(message), message.media_group_id or ""
    command = _COMMAND.match(text)
    if command and command[2] and command[2].lower() != me.username.lower():
        return Ignored("other_bot")
    is_addressed = place.private or command is not None or _is_addressed(message, text, me)
    if not is_addressed and not (album and file):
        return Ignored("not_addressed")
    if not text and not (file and (album or file.is_document)):
        if message.content_type not in WITHOUT_TEXT:
            return Ignored("service")
        return WithoutText(place, message.message_id, _language(message))
    wording = _wording(text, command, place, me, has_file=file is not None) if is_addressed else ""
    if not wording and file is None:
        return Ignored("empty")
    inbound = _inbound(message, wording, key=key, me=me, stream=stream)
    if not is_addressed:
        inbound = inbound.model_copy(update={"quoted": ""})
    return Incoming(
        message=inbound,
        place=place,
        message_id=message.message_id,
        files=(file,) if file else (),
        album=album if file else "",
        is_addressed=is_addressed,
    )


def _wording(text: str, command: re.Match[str] | None, place: Place, me: Me, *, has_file: bool) -> str:
    """Return what a text says to the bot."""
    if command:
        text = f"/{command[1]}{text[command.end() :]}"
    elif not place.private:
        # Somebody who only calls the bot by its name wants to know what it can do.
        called = re.sub(r" {2,}", " ", _mention(me).sub("", text)).strip()
        text = called or ("" if has_file else "/help")
    return normalise(text).strip()


def _inbound(message: Message, text: str, *, key: str, me: Me, stream: bool) -> InboundMessage:
    place, sender = _place(message), message.from_user
    if message.sender_chat is not None or sender is None:
        # An anonymous administrator or a channel speaks: the chat is the principal, no person is known.
        person = f"chat:{message.sender_chat.id if message.sender_chat else place.chat}"
    else:
        person = str(sender.id)
    language = _language(message)
    reply = {"asked": str(round(message.date.timestamp()))}
    if language:
        reply["language"] = language
    if not place.private:
        reply["message_id"] = str(message.message_id)
    return message_at(place, text, key=key, me=me, person=person).model_copy(
        update={
            "origin": str(message.message_id),
            "quoted": _quoted(message),
            "is_forwarded": _is_forwarded(message),
            "language": language,
            "reply": reply,
            "stream": stream and place.private,
        }
    )


def _language(message: Message) -> str:
    if message.sender_chat is not None or message.from_user is None:
        return ""
    return language_tag(message.from_user.language_code or "")


def _place(message: Message) -> Place:
    topic = message.message_thread_id if message.is_topic_message else None
    return Place(chat=message.chat.id, topic=topic, private=message.chat.type == "private")


def _file(message: Message) -> RemoteFile | None:
    if message.content_type not in WITH_FILE:
        return None
    kind = ContentType(message.content_type).value
    found = getattr(message, kind)
    # Of a photo there are several sizes, the last is the largest.
    file = found[-1] if isinstance(found, list) else found
    media_type = (getattr(file, "mime_type", None) or "").lower()
    name = normalise(without_unsafe(getattr(file, "file_name", None) or "")).strip(" .")
    return RemoteFile(
        kind=kind,
        file_id=getattr(file, "file_id", ""),
        unique_id=getattr(file, "file_unique_id", ""),
        name=name[-MAX_NAME_CHARS:] or kind,
        media_type=media_type if _MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream",
        size_bytes=max(getattr(file, "file_size", None) or 0, 0),
    )


def _is_addressed(message: Message, text: str, me: Me) -> bool:
    answered = message.reply_to_message
    # In a forum every message formally answers the service message that opened its topic.
    if (
        answered
        and answered.from_user
        and not answered.forum_topic_created
        and answered.from_user.id == me.bot_id
    ):
        return True
    entities = message.entities or message.caption_entities or ()
    return any(e.user and e.user.id == me.bot_id for e in entities) or _mention(me).search(text) is not None


def _is_forwarded(message: Message) -> bool:
    """Whether the text is another person's, a channel's or a bot's."""
    origin = message.forward_origin
    is_own = (
        isinstance(origin, MessageOriginUser)
        and message.from_user is not None
        and origin.sender_user.id == message.from_user.id
    )
    return message.via_bot is not None or (origin is not None and not is_own)


def _mention(me: Me) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w@])@{re.escape(me.username)}(?!\w)", re.IGNORECASE)


def _quoted(message: Message) -> str:
    if message.quote:
        return normalise(message.quote.text)[:MAX_QUOTED_CHARS].strip()
    answered = message.reply_to_message
    text = (answered.text or answered.caption or "") if answered else ""
    return normalise(text)[:MAX_QUOTED_CHARS].strip()
