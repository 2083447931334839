"""Short words of the connector itself, sent beside the stream of replies."""

import asyncio
import time
from collections import OrderedDict

import structlog
from aiogram.methods import SendMessage
from aiogram.types import LinkPreviewOptions, ReplyParameters

from connectors.telegram.client import Client, Unreachable
from connectors.telegram.events import Place
from connectors.telegram.parts import Part
from hub.errors import ConnectorError, RetryLater

log = structlog.get_logger(__name__)

MAX_REMEMBERED = 10_000
MAX_UNDER_WAY = 100
NOTICE_ATTEMPTS = 6
NOTICE_RETRY_S = 1.0
"""Wait before the second attempt at a notice; doubled by each further one."""
CLOSE_PATIENCE_S = 2.0
"""How long notices on their way may take when the intake ends."""


class Notices:
    """Tells people something, each thing at most once in a while for a chat."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._last: OrderedDict[tuple[Place, str], float] = OrderedDict()
        self._under_way: set[asyncio.Task[None]] = set()

    def tell(self, place: Place, *parts: Part, about: str, every_s: float, reply_to: int) -> None:
        """Send messages in the background unless the chat was told about the same within `every_s`."""
        now = time.monotonic()
        key = (place, about)
        if now - self._last.get(key, -every_s) < every_s or len(self._under_way) >= MAX_UNDER_WAY:
            return
        self._last[key] = now
        self._last.move_to_end(key)
        if len(self._last) > MAX_REMEMBERED:
            self._last.popitem(last=False)
        task = asyncio.create_task(self._send(key, parts, reply_to))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Let the notices on their way arrive, and give up those that do not within CLOSE_PATIENCE_S."""
        if self._under_way:
            await asyncio.wait(tuple(self._under_way), timeout=CLOSE_PATIENCE_S)
        for task in tuple(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _send(self, key: tuple[Place, str], parts: tuple[Part, ...], reply_to: int) -> None:
        place = key[0]
        answered = None if place.private or not reply_to else reply_to
        try:
            for part in parts:
                await self._insist(_message(place, part, answered))
        except ConnectorError as error:
            # The person has not been told: the next occasion must not be held back.
            self._last.pop(key, None)
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


def _message(place: Place, part: Part, answered: int | None) -> SendMessage:
    reply = ReplyParameters(message_id=answered, allow_sending_without_reply=True) if answered else None
    return SendMessage(
        chat_id=place.chat,
        message_thread_id=place.topic,
        text=part.text,
        entities=part.entities,
        reply_parameters=reply,
        link_preview_options=LinkPreviewOptions(is_disabled=True),
        parse_mode=None,
    )
