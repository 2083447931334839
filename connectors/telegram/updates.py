"""What Telegram delivers: an update read strictly and turned into a message for the bus."""

import re
from dataclasses import dataclass
from typing import Any

from aiogram.enums import ContentType
from aiogram.types import Message, Update
from pydantic import ValidationError

from connectors.telegram.strict_json import Unreadable
from hub.messages import Address, InboundMessage, conversation_id
from hub.text import language_tag, normalise

MAX_TEXT_UNITS = 8_192
"""Telegram itself cannot send more than 4,096; a longer text is forged."""
MAX_ENTITIES = 200
"""Telegram itself sends at most 100; more are dropped unread."""
MAX_QUOTED_CHARS = 4_096

_COMMAND = re.compile(r"/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]{2,64}))?(?=\s|$)")

WITHOUT_TEXT = frozenset(
    {
        ContentType.ANIMATION,
        ContentType.AUDIO,
        ContentType.CHECKLIST,
        ContentType.CONTACT,
        ContentType.DICE,
        ContentType.DOCUMENT,
        ContentType.GAME,
        ContentType.LIVE_PHOTO,
        ContentType.LOCATION,
        ContentType.PAID_MEDIA,
        ContentType.PHOTO,
        ContentType.POLL,
        ContentType.STICKER,
        ContentType.STORY,
        ContentType.VENUE,
        ContentType.VIDEO,
        ContentType.VIDEO_NOTE,
        ContentType.VOICE,
    }
)
"""What people send and the hub cannot read; everything else without text is a service message."""


@dataclass(frozen=True, slots=True)
class Me:
    """The bot itself."""

    bot_id: int
    username: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in Telegram something is shown."""

    chat: int
    topic: int | None
    private: bool


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message for the bus."""

    message: InboundMessage
    place: Place


@dataclass(frozen=True, slots=True)
class WithoutText:
    """A person sent something that is not text and waits for an answer."""

    place: Place
    message_id: int


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing for the hub; the reason is counted."""

    reason: str


def read(data: dict[str, Any], me: Me, *, stream: bool) -> Incoming | WithoutText | Ignored:
    """Turn one update into what the hub does with it.

    Raises: Unreadable: it does not obey the Bot API.
    """
    update_id = data.get("update_id")
    if type(update_id) is not int or not 0 <= update_id < 2**63:
        raise Unreadable("update_id is not a positive integer")
    kinds = [name for name in data if name != "update_id"]
    if len(kinds) > 1:
        raise Unreadable("more than one kind of update")
    if kinds == ["stopped_message_generation"]:
        return _read_stop(data["stopped_message_generation"], f"tg:{me.bot_id}:{update_id}", me)
    if kinds != ["message"]:
        return Ignored(kinds[0] if kinds and kinds[0] in Update.model_fields else "unknown_kind")
    message = _validated(data)
    if message.from_user and message.from_user.is_bot and message.sender_chat is None:
        return Ignored("bot")
    text = message.text or message.caption or ""
    if len(text) * 2 > MAX_TEXT_UNITS and len(text.encode("utf-16-le")) // 2 > MAX_TEXT_UNITS:
        raise Unreadable("text is longer than Telegram allows")
    return _read_message(message, text, f"tg:{me.bot_id}:{update_id}", me, stream)


def _read_stop(data: object, key: str, me: Me) -> Incoming:
    """Read the button below a growing draft as the command that says the same."""
    chat = data.get("chat") if isinstance(data, dict) else None
    topic = data.get("message_thread_id") if isinstance(data, dict) else None
    if not isinstance(chat, dict) or type(chat.get("id")) is not int or type(topic) not in (int, type(None)):
        raise Unreadable("a stop without chat")
    place = Place(chat=chat["id"], topic=topic, private=True)
    return Incoming(_message_at(place, "/stop", key=key, me=me, person=str(place.chat)), place)


def _read_message(
    message: Message, text: str, key: str, me: Me, stream: bool
) -> Incoming | WithoutText | Ignored:
    place = _place(message)
    command = _COMMAND.match(text)
    if command and command[2] and command[2].lower() != me.username.lower():
        return Ignored("other_bot")
    if not place.private and not command and not _is_addressed(message, text, me):
        return Ignored("not_addressed")
    if not text:
        return (
            WithoutText(place, message.message_id)
            if message.content_type in WITHOUT_TEXT
            else Ignored("service")
        )
    if command:
        text = f"/{command[1]}{text[command.end() :]}"
    elif not place.private:
        # Somebody who only calls the bot by its name wants to know what it can do.
        text = re.sub(r" {2,}", " ", _mention(me).sub("", text)).strip() or "/help"
    text = normalise(text).strip()
    if not text:
        return Ignored("empty")
    return Incoming(_inbound(message, text, key=key, me=me, stream=stream), place)


def _inbound(message: Message, text: str, *, key: str, me: Me, stream: bool) -> InboundMessage:
    place, sender = _place(message), message.from_user
    if message.sender_chat is not None or sender is None:
        # An anonymous administrator or a channel speaks: the chat is the principal, no person is known.
        person, language = f"chat:{message.sender_chat.id if message.sender_chat else place.chat}", ""
    else:
        person, language = str(sender.id), sender.language_code or ""
    return _message_at(place, text, key=key, me=me, person=person).model_copy(
        update={
            "quoted": _quoted(message),
            "language": language_tag(language),
            "reply": {} if place.private else {"message_id": str(message.message_id)},
            "stream": stream and place.private,
        }
    )


def _message_at(place: Place, text: str, *, key: str, me: Me, person: str) -> InboundMessage:
    topic = str(place.topic) if place.topic is not None else ""
    bot, chat = str(me.bot_id), str(place.chat)
    return InboundMessage(
        external_key=key,
        conversation=conversation_id("telegram", bot, chat, *([topic] if topic else [])),
        address=Address(
            connector="telegram",
            account=bot,
            chat=chat,
            thread=topic,
            person=person,
            is_group=not place.private,
            # Telegram tells who writes, but for those who write in the name of a chat.
            is_verified=not person.startswith("chat:"),
        ),
        text=text,
    )


def _place(message: Message) -> Place:
    topic = message.message_thread_id if message.is_topic_message else None
    return Place(chat=message.chat.id, topic=topic, private=message.chat.type == "private")


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


def _mention(me: Me) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w@])@{re.escape(me.username)}(?!\w)", re.IGNORECASE)


def _quoted(message: Message) -> str:
    if message.quote:
        return normalise(message.quote.text)[:MAX_QUOTED_CHARS].strip()
    answered = message.reply_to_message
    text = (answered.text or answered.caption or "") if answered else ""
    return normalise(text)[:MAX_QUOTED_CHARS].strip()


def _validated(data: dict[str, Any]) -> Message:
    raw = data["message"]
    chat = raw.get("chat") if isinstance(raw, dict) else None
    # aiogram would take "5", 5.0 and true for an id.
    if (
        not isinstance(chat, dict)
        or type(chat.get("id")) is not int
        or type(raw.get("message_id")) is not int
    ):
        raise Unreadable("message without chat or id")
    for name in ("entities", "caption_entities"):
        if isinstance(raw.get(name), list) and len(raw[name]) > MAX_ENTITIES:
            del raw[name]
    try:
        message = Update.model_validate(_without_surrogates(data)).message
    except (ValidationError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Unreadable("not a message of the Bot API") from error
    assert message is not None
    return message


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
