"""Replies on their way out: part by part, in place of an earlier answer where they replace one."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import structlog
from aiogram.methods import DeleteMessages, EditMessageText, SendMessage
from aiogram.methods.base import TelegramMethod
from aiogram.types import InlineKeyboardMarkup, LinkPreviewOptions, ReplyParameters
from aiogram.types import Message as TelegramMessage

from connectors.base import Progress
from connectors.telegram.bot import Bot
from connectors.telegram.client import ChatMoved, FormattingRefused
from connectors.telegram.parts import Part, render
from hub.commands import command_of
from hub.errors import DeliveryRefused, RetryLater
from hub.messages import OutboundMessage

log = structlog.get_logger(__name__)

T = TypeVar("T")

NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
"""A preview makes Telegram fetch an address that the model wrote."""


class Delivery:
    """Sends the replies of one bot."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Send what Telegram has not confirmed yet.

        A part whose request got no answer is sent again: seeing it twice is better than never.

        Raises:
            RetryLater: Telegram asks to wait, or cannot be reached.
            DeliveryRefused: the bot is blocked, or the chat is gone.
        """
        chat = await self._open_chat(message)
        parts = render(message)
        markup = self._markup(message)
        for number, part in enumerate(parts):
            if number in progress.placed_parts:
                continue
            if wait_s := self._bot.client.quiet_s(await self._bot.chats.current(chat)):
                raise RetryLater(wait_s, "Telegram asks to slow down")
            await progress.begin(number)
            below = markup if number == len(parts) - 1 else None
            earlier = _still_there(number, progress)
            if earlier is None or not await self._edit(chat, earlier, part, below, message):
                earlier = await self._place(chat, part, below, message, is_first=number == 0)
            await progress.placed(number, str(earlier))
        await self._take_away(chat, progress)

    async def _open_chat(self, message: OutboundMessage) -> int:
        try:
            chat = int(message.address.chat)
        except ValueError as error:
            raise DeliveryRefused("the address holds no chat id of Telegram") from error
        asked = message.reply.get("asked", "")
        if await self._bot.chats.is_closed(chat, int(asked) if asked.isdecimal() else 0):
            raise DeliveryRefused("the bot was blocked or removed from the chat")
        return chat

    def _markup(self, message: OutboundMessage) -> InlineKeyboardMarkup | None:
        if message.kind == "answer":
            return self._bot.buttons.below_answer(
                message.conversation,
                message.turn,
                language=message.reply.get("language", ""),
                votes={} if self._bot.ports.feedback else None,
                private=not message.address.chat.startswith("-"),
                sources=bool(message.sources) and self._bot.ports.history is not None,
            )
        asks_for_models = command_of(message.question) == "/model" and len(message.question.split()) == 1
        if message.kind == "notice" and asks_for_models and self._bot.ports.models:
            return self._bot.buttons.models(message.conversation, self._bot.ports.models())
        return None

    async def _place(
        self,
        chat: int,
        part: Part,
        markup: InlineKeyboardMarkup | None,
        message: OutboundMessage,
        *,
        is_first: bool,
    ) -> int:
        answered, topic = message.reply.get("message_id", ""), message.address.thread
        reply = None
        if is_first and answered.isdecimal():
            reply = ReplyParameters(message_id=int(answered), allow_sending_without_reply=True)
        call = SendMessage(
            chat_id=chat,
            message_thread_id=int(topic) if topic.isdecimal() else None,
            text=part.text,
            entities=part.entities,
            reply_parameters=reply,
            reply_markup=markup,
            link_preview_options=NO_PREVIEW,
            parse_mode=None,
        )
        sent: TelegramMessage = await self._formatted(call, chat, message)
        return sent.message_id

    async def _edit(
        self,
        chat: int,
        message_id: int,
        part: Part,
        markup: InlineKeyboardMarkup | None,
        message: OutboundMessage,
    ) -> bool:
        """Put a part in the place of an earlier one; tells whether there still was one."""
        call = EditMessageText(
            chat_id=chat,
            message_id=message_id,
            text=part.text,
            entities=part.entities,
            reply_markup=markup,
            link_preview_options=NO_PREVIEW,
            parse_mode=None,
        )
        try:
            await self._formatted(call, chat, message)
        except DeliveryRefused as error:
            if "not modified" in str(error):
                return True
            log.info("answer_not_edited", turn=message.turn, reason=str(error))
            return False
        return True

    async def _take_away(self, chat: int, progress: Progress) -> None:
        """Delete what is left of the answer that was replaced."""
        kept = set(progress.placed_parts.values())
        surplus = [
            int(one) for one in progress.replaced_parts.values() if one not in kept and one.isdecimal()
        ]
        if not surplus:
            return
        try:
            await self._moving(DeleteMessages(chat_id=chat, message_ids=surplus[:100]), chat)
        except DeliveryRefused as error:
            # Too old, or deleted by somebody else.
            log.info("surplus_not_deleted", reason=str(error))

    async def _formatted(self, call: TelegramMethod[T], chat: int, message: OutboundMessage) -> T:
        try:
            return await self._moving(call, chat)
        except FormattingRefused as error:
            log.warning("formatting_refused", turn=message.turn, reason=str(error))
            return await self._moving(call.model_copy(update={"entities": None}), chat)

    async def _moving(self, call: TelegramMethod[T], chat: int) -> T:
        """Call a chat under the id it goes on with."""
        target = await self._bot.chats.current(chat)
        try:
            return await self._bot.client.call(call.model_copy(update={"chat_id": target}))
        except ChatMoved as error:
            await self._bot.chats.moved(target, error.chat)
            target = error.chat
        try:
            return await self._bot.client.call(call.model_copy(update={"chat_id": target}))
        except ChatMoved as error:
            raise DeliveryRefused("the group moved again and again") from error


def _still_there(part: int, progress: Progress) -> int | None:
    """Return the message that a part can take the place of.

    After a part that had to be sent anew all others are, too, for they would stand above it.
    """
    earlier: Mapping[int, str] = progress.replaced_parts
    found = earlier.get(part, "")
    if not found.isdecimal() or _is_anew(progress.placed_parts, earlier, range(part)):
        return None
    return int(found)


def _is_anew(placed: Mapping[int, str], earlier: Mapping[int, str], parts: Sequence[int]) -> bool:
    return any(placed.get(part) != earlier.get(part) for part in parts)
