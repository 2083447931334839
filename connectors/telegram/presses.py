"""Buttons that people press: a judgement is reported, sources are shown, a model is chosen."""

import asyncio
import json
from typing import Any, Literal
from weakref import WeakValueDictionary

import structlog
from aiogram.methods import AnswerCallbackQuery, EditMessageReplyMarkup
from aiogram.methods.base import TelegramMethod
from aiogram.types import InlineKeyboardMarkup, MessageEntity

from connectors.base import Publish
from connectors.telegram.bot import Bot
from connectors.telegram.buttons import Button, model_mark
from connectors.telegram.events import Me, Place, Pressed
from connectors.telegram.parts import Part, split
from connectors.telegram.phrases import phrases
from connectors.telegram.updates import message_at
from hub.errors import ConnectorError
from hub.messages import Source
from hub.text import normalise

log = structlog.get_logger(__name__)

CALL_TIMEOUT_S = 10.0
VOTES_KEPT_S = 30 * 86400.0
REDRAWS_PER_MINUTE = 5
"""Of one message: whoever presses to and fro must not use up what Telegram lets the bot do in the chat."""
SOURCES_EVERY_S = 60.0
HISTORY_TURNS = 1_000
MAX_QUOTE_CHARS = 600


class Presses:
    """Does what a pressed button stands for."""

    def __init__(self, me: Me, publish: Publish, bot: Bot) -> None:
        self._me = me
        self._publish = publish
        self._bot = bot
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def take(self, pressed: Pressed) -> None:
        """Deal with one press; when this returns, it can be confirmed.

        Raises: BusError: what it stands for was not stored.
        """
        place = pressed.place
        conversation = await self._bot.chats.conversation(place) if place else ""
        button = self._bot.buttons.read(pressed.data, conversation) if place else None
        done = (
            place is not None and button is not None and await self._do(button, pressed, place, conversation)
        )
        if not done:
            self._bot.ignored["unknown_button"] += 1
            log.debug("button_ignored")
            await self._answer(pressed, phrases(pressed.language).too_old)

    async def _do(self, button: Button, pressed: Pressed, place: Place, conversation: str) -> bool:
        """Do it; tells whether it still means something."""
        match button.action:
            case "up":
                return await self._judge(button.about, "up", pressed, place, conversation)
            case "down":
                return await self._judge(button.about, "down", pressed, place, conversation)
            case "sources":
                return await self._show_sources(button.about, pressed, place, conversation)
            case "model":
                return await self._choose_model(button.about, pressed, place, conversation)

    async def _judge(
        self, turn: str, value: Literal["up", "down"], pressed: Pressed, place: Place, conversation: str
    ) -> bool:
        if self._bot.ports.feedback is None:
            return False
        await self._bot.ports.feedback.feedback(turn, conversation, pressed.person, value)
        votes, is_news = await self._vote(turn, value, pressed.person)
        await self._answer(pressed, phrases(pressed.language).thanks)
        if is_news and await self._may_redraw(turn):
            markup = self._bot.buttons.below_answer(
                conversation,
                turn,
                language=pressed.language,
                votes=votes,
                private=place.private,
                sources=pressed.has_sources,
            )
            await self._redraw(pressed, place, markup)
        return True

    async def _may_redraw(self, turn: str) -> bool:
        name = f"redraws:{self._me.bot_id}:{turn}"
        return await self._bot.ports.store.increment(name, 60.0) <= REDRAWS_PER_MINUTE

    async def _vote(self, turn: str, value: str, person: str) -> tuple[dict[str, str], bool]:
        """Count a vote for what the buttons show; the judgement itself is the hub's."""
        name = f"votes:{self._me.bot_id}:{turn}"
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            votes: dict[str, str] = json.loads(await self._bot.ports.store.get(name) or "{}")
            if votes.get(person) == value:
                return votes, False
            votes[person] = value
            await self._bot.ports.store.set(name, json.dumps(votes), VOTES_KEPT_S)
        return votes, True

    async def _show_sources(self, turn: str, pressed: Pressed, place: Place, conversation: str) -> bool:
        if self._bot.ports.history is None:
            return False
        turns = await self._bot.ports.history.turns(conversation, HISTORY_TURNS)
        sources = next((one.sources for one in reversed(turns) if one.turn == turn), ())
        if not sources:
            return False
        about, reply_to = f"sources {turn}", pressed.message_id
        parts = sources_message(sources, pressed.language)
        self._bot.notices.tell(place, *parts, about=about, every_s=SOURCES_EVERY_S, reply_to=reply_to)
        await self._answer(pressed, "")
        return True

    async def _choose_model(self, mark: str, pressed: Pressed, place: Place, conversation: str) -> bool:
        names = self._bot.ports.models() if self._bot.ports.models else ()
        name = next((name for name in names if model_mark(name) == mark), None)
        if name is None:
            return False
        reply = {"language": pressed.language} if pressed.language else {}
        if not place.private:
            reply["message_id"] = str(pressed.message_id)
        message = message_at(place, f"/model {name}", key=pressed.key, me=self._me, person=pressed.person)
        accepted = await self._publish(
            message.model_copy(
                update={
                    "conversation": conversation,
                    "origin": f"button-{pressed.query_id}",
                    "language": pressed.language,
                    "reply": reply | {"asked": str(round(message.received_at.timestamp()))},
                }
            )
        )
        if accepted.lane_full:
            await self._answer(pressed, phrases(pressed.language).please_wait)
            return True
        await self._answer(pressed, phrases(pressed.language).model_asked_for.format(name=name))
        await self._redraw(pressed, place, self._bot.buttons.models(conversation, names, name))
        return True

    async def _answer(self, pressed: Pressed, text: str) -> None:
        """End the waiting sign on the button; a query that is too old needs no answer any more."""
        await self._try(AnswerCallbackQuery(callback_query_id=pressed.query_id, text=text[:200] or None))

    async def _redraw(self, pressed: Pressed, place: Place, markup: InlineKeyboardMarkup | None) -> None:
        if pressed.message_id:
            await self._try(
                EditMessageReplyMarkup(chat_id=place.chat, message_id=pressed.message_id, reply_markup=markup)
            )

    async def _try(self, call: TelegramMethod[Any]) -> None:
        try:
            await self._bot.client.call(call, CALL_TIMEOUT_S)
        except ConnectorError as error:
            log.debug("button_not_answered", call=call.__api_method__, reason=str(error))


def sources_message(sources: tuple[Source, ...], language: str) -> list[Part]:
    """Return the sources with their quotes; nothing of them is read as formatting."""
    text = f"{phrases(language).sources}:"
    entities: list[MessageEntity] = []
    for source in sources:
        heading = f" — {source.heading}" if source.heading and source.heading != source.title else ""
        text += "\n\n" + _line(f"[{source.number}] {source.title}{heading}")
        if source.location and source.location != source.title:
            text += "\n" + _line(source.location)
        quote = _line(source.quote)[:MAX_QUOTE_CHARS]
        if quote:
            entities.append(MessageEntity(type="blockquote", offset=_units(text) + 1, length=_units(quote)))
            text += f"\n{quote}"
    return split(text, entities)


def _line(text: str) -> str:
    return " ".join(normalise(text).split())


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
