"""From one update to the bus: what is for the hub is published, what it cannot read is answered with a word."""

import asyncio
import time
from collections import Counter, OrderedDict
from typing import Any

import structlog
from aiogram.methods import SendMessage
from aiogram.types import ReplyParameters

from connectors.base import Publish
from connectors.telegram.client import Client, Unreachable
from connectors.telegram.display import Display
from connectors.telegram.strict_json import Unreadable
from connectors.telegram.updates import Ignored, Incoming, Me, Place, WithoutText, read
from hub.errors import ConnectorError, RetryLater

log = structlog.get_logger(__name__)

TEXT_ONLY = "Sorry, I can only read text messages. Please write your question as text."
PLEASE_WAIT = "Please wait: I am still busy with your earlier messages and could not take this one."
TEXT_ONLY_EVERY_S = 3600.0
PLEASE_WAIT_EVERY_S = 60.0
MAX_REMEMBERED = 10_000
MAX_UNDER_WAY = 100
NOTICE_ATTEMPTS = 6
NOTICE_RETRY_S = 1.0
"""Wait before the second attempt at a notice; doubled by each further one."""
CLOSE_PATIENCE_S = 2.0
"""How long notices on their way may take when the intake ends."""


class Notices:
    """Short words of the connector itself, each at most once in a while for a chat."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._last: OrderedDict[tuple[Place, str], float] = OrderedDict()
        self._under_way: set[asyncio.Task[None]] = set()

    def tell(self, place: Place, text: str, *, every_s: float, reply_to: int) -> None:
        """Send a notice in the background unless the chat has had it within `every_s`."""
        now = time.monotonic()
        if now - self._last.get((place, text), -every_s) < every_s or len(self._under_way) >= MAX_UNDER_WAY:
            return
        self._last[place, text] = now
        self._last.move_to_end((place, text))
        if len(self._last) > MAX_REMEMBERED:
            self._last.popitem(last=False)
        task = asyncio.create_task(self._send(place, text, reply_to))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Let the notices on their way arrive, and give up those that do not within CLOSE_PATIENCE_S."""
        if self._under_way:
            await asyncio.wait(tuple(self._under_way), timeout=CLOSE_PATIENCE_S)
        for task in tuple(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _send(self, place: Place, text: str, reply_to: int) -> None:
        reply = (
            None if place.private else ReplyParameters(message_id=reply_to, allow_sending_without_reply=True)
        )
        notice = SendMessage(
            chat_id=place.chat,
            message_thread_id=place.topic,
            text=text,
            reply_parameters=reply,
            parse_mode=None,
        )
        try:
            await self._insist(notice)
        except ConnectorError as error:
            # The person has not been told: the next occasion must not be held back.
            self._last.pop((place, text), None)
            log.warning("notice_not_sent", reason=str(error))

    async def _insist(self, notice: SendMessage) -> None:
        """Send a notice; it is all the answer that the message it is about will get."""
        wait_s = NOTICE_RETRY_S
        for _ in range(NOTICE_ATTEMPTS - 1):
            try:
                await self._client.call(notice)
                return
            except RetryLater as error:
                # How soon an unreachable Telegram is tried again is decided here, by doubling.
                asked_s = 0.0 if isinstance(error, Unreachable) else error.retry_after_s
                await asyncio.sleep(max(wait_s, asked_s))
                wait_s *= 2
        await self._client.call(notice)


class Intake:
    """Takes updates one by one, from the webhook or from polling.

    Args:
        me: the bot, whose name is a call in groups.
        stream: whether answers are shown while they are generated.
    """

    def __init__(
        self,
        me: Me,
        publish: Publish,
        *,
        notices: Notices,
        display: Display,
        stream: bool,
        ignored: Counter[str],
    ) -> None:
        self._me = me
        self._publish = publish
        self._notices = notices
        self._display = display
        self._stream = stream
        self._ignored = ignored

    async def take(self, update: dict[str, Any]) -> None:
        """Deal with one update; when this returns, it can be confirmed.

        Raises:
            Unreadable: it can never be processed.
            BusError: it was not stored; Telegram must deliver it again.
        """
        match self._read(update):
            case Ignored(reason):
                self._ignored[reason] += 1
                log.debug("update_ignored", reason=reason)
            case WithoutText(place, message_id):
                self._ignored["without_text"] += 1
                self._notices.tell(place, TEXT_ONLY, every_s=TEXT_ONLY_EVERY_S, reply_to=message_id)
            case Incoming() as incoming:
                await self._hand_in(incoming)

    def _read(self, update: dict[str, Any]) -> Incoming | WithoutText | Ignored:
        try:
            return read(update, self._me, stream=self._stream)
        except Unreadable:
            raise
        except Exception as error:
            # Reading has no other reason to fail than the update itself, which would come again and again.
            log.exception("update_reading_failed")
            raise Unreadable(f"reading failed: {type(error).__name__}") from error

    async def _hand_in(self, incoming: Incoming) -> None:
        message, place = incoming.message, incoming.place
        accepted = await self._publish(message)
        if accepted.lane_full:
            reply_to = int(message.reply.get("message_id", 0))
            self._notices.tell(place, PLEASE_WAIT, every_s=PLEASE_WAIT_EVERY_S, reply_to=reply_to)
        elif not accepted.duplicate:
            self._display.begin(message.conversation, accepted.turn, place, wait_s=accepted.wait_s)
