"""From one update to the bus: what is for the hub is published, what it cannot read is answered with a word."""

from typing import Any

import structlog

from connectors.base import Publish
from connectors.telegram.albums import Albums
from connectors.telegram.bot import Bot
from connectors.telegram.edits import Edits
from connectors.telegram.events import (
    Event,
    Ignored,
    Incoming,
    Me,
    Membership,
    Moved,
    Pressed,
    WithoutText,
)
from connectors.telegram.files import Files
from connectors.telegram.parts import Part
from connectors.telegram.phrases import phrases
from connectors.telegram.presses import Presses
from connectors.telegram.strict_json import Unreadable
from connectors.telegram.updates import read

log = structlog.get_logger(__name__)

TEXT_ONLY_EVERY_S = 3600.0
PLEASE_WAIT_EVERY_S = 60.0


class Intake:
    """Takes updates one by one, from the webhook or from polling.

    Args:
        me: the bot, whose name is a call in groups.
        stream: whether answers are shown while they are generated.
    """

    def __init__(self, me: Me, publish: Publish, bot: Bot, *, stream: bool) -> None:
        self._me = me
        self._publish = publish
        self._bot = bot
        self._stream = stream
        self._files = Files(bot.client, bot.ports.reader)
        self._edits = Edits(me.bot_id, bot.ports.store)
        self._albums = Albums(me.bot_id, bot.ports.store, self._hand_in, bot.ports.quarantine)
        self._presses = Presses(me, publish, bot)

    async def resume(self) -> None:
        """Go on with what an earlier process has left.

        Raises: BusError: the store cannot be reached.
        """
        await self._albums.resume()

    async def close(self) -> None:
        """Stop what runs beside the updates."""
        await self._albums.close()

    async def take(self, update: dict[str, Any]) -> None:
        """Deal with one update; when this returns, it can be confirmed.

        Raises:
            Unreadable: it can never be processed.
            BusError: it was not stored; Telegram must deliver it again.
        """
        match self._read(update):
            case Ignored(reason):
                self._ignore(reason)
            case WithoutText() as what:
                self._say_text_only(what)
            case Moved(old, new):
                await self._bot.chats.moved(old, new)
            case Membership() as membership:
                await self._bot.chats.note(membership)
            case Pressed() as pressed:
                await self._presses.take(pressed)
            case Incoming() as incoming:
                await self._take_message(incoming)

    def _read(self, update: dict[str, Any]) -> Event:
        try:
            return read(update, self._me, stream=self._stream)
        except Unreadable:
            raise
        except Exception as error:
            # Reading has no other reason to fail than the update itself, which would come again and again.
            log.exception("update_reading_failed")
            raise Unreadable(f"reading failed: {type(error).__name__}") from error

    async def _take_message(self, incoming: Incoming) -> None:
        incoming = await self._in_its_conversation(incoming)
        await self._albums.settle(incoming)
        if incoming.is_edit:
            await self._take_edit(incoming)
        elif incoming.album:
            await self._albums.add(incoming)
        else:
            await self._hand_in(incoming)

    async def _in_its_conversation(self, incoming: Incoming) -> Incoming:
        message = incoming.message
        conversation = await self._bot.chats.conversation(incoming.place)
        if conversation == message.conversation:
            return incoming
        # A supergroup numbers its messages anew, and the conversation holds those of the group before it.
        update = {"conversation": conversation, "origin": f"{incoming.place.chat}.{message.origin}"}
        if incoming.is_edit:
            update["replaces"] = update["origin"]
        return incoming.model_copy(update={"message": message.model_copy(update=update)})

    async def _take_edit(self, edit: Incoming) -> None:
        if not edit.is_addressed:
            self._ignore("not_addressed")
            return
        whole, album = await self._albums.edited(edit)
        if not whole.is_edit or (album is None and await self._edits.changes_nothing(edit)):
            self._ignore("edit_without_change")
            return
        if await self._hand_in(whole) and album is not None:
            await self._albums.keep(edit, album)

    async def _hand_in(self, incoming: Incoming) -> bool:
        """Publish a message; tells whether it is on the bus."""
        message, place = incoming.message, incoming.place
        if not message.text and not any(file.is_document for file in incoming.files):
            if incoming.is_edit:
                self._ignore("edit_without_text")
            else:
                self._say_text_only(WithoutText(place, incoming.message_id, message.language))
            return False
        if incoming.files:
            attachments = await self._files.read(incoming.files)
            message = message.model_copy(update={"attachments": attachments})
        accepted = await self._publish(message)
        if accepted.lane_full:
            notice = Part(phrases(message.language).please_wait, [])
            every_s, reply_to = PLEASE_WAIT_EVERY_S, incoming.message_id
            self._bot.notices.tell(place, notice, about="please_wait", every_s=every_s, reply_to=reply_to)
            return False
        # A press of a button is no message.
        is_other = incoming.message_id != 0 and await self._edits.remember(incoming)
        if not accepted.duplicate:
            self._bot.display.begin(
                message.conversation,
                accepted.turn,
                place,
                wait_s=accepted.wait_s,
                language=message.language,
                in_place=incoming.is_edit,
            )
        elif is_other:
            # The same update with another content: what came first stands.
            self._ignore("conflict")
        return True

    def _say_text_only(self, what: WithoutText) -> None:
        self._ignore("without_text")
        self._bot.notices.tell(
            what.place,
            Part(phrases(what.language).text_only, []),
            about="text_only",
            every_s=TEXT_ONLY_EVERY_S,
            reply_to=what.message_id,
        )

    def _ignore(self, reason: str) -> None:
        self._bot.ignored[reason] += 1
        log.debug("update_ignored", reason=reason)
