"""The Telegram channel: updates in by webhook or long polling, replies out part by part."""

import asyncio
import hmac
import json
import re
from collections import Counter
from typing import Any, TypeVar

import structlog
from aiogram.methods import DeleteWebhook, GetMe, GetWebhookInfo, SendMessage, SetMyCommands, SetWebhook
from aiogram.methods.base import TelegramMethod
from aiogram.types import BotCommand, LinkPreviewOptions, ReplyParameters
from aiogram.types import Message as TelegramMessage
from aiohttp import web

from connectors.base import Progress, Publish
from connectors.live import Live
from connectors.telegram import webhook
from connectors.telegram.client import ChatMoved, Client, FormattingRefused, TokenRefused, Unreachable
from connectors.telegram.display import Display
from connectors.telegram.intake import Intake, Notices
from connectors.telegram.parts import Part, render
from connectors.telegram.strict_json import Unreadable, parse
from connectors.telegram.updates import Me
from connectors.telegram.webhook import Quarantine, Webhook
from hub.errors import BusError, BusFull, ConnectorError, DeliveryRefused, HubError, RetryLater, SettingsError
from hub.messages import OutboundMessage
from hub.settings import TelegramSettings

log = structlog.get_logger(__name__)

T = TypeVar("T")

ALLOWED_UPDATES = ["message", "edited_message", "my_chat_member", "stopped_message_generation"]
COMMANDS = {
    "start": "Say hello",
    "help": "What I can do",
    "stop": "Stop the answer I am writing",
    "new": "Begin a new conversation",
}
MAX_CONNECTIONS = 40
MAX_BACK_OFF_S = 60.0
BUS_RETRY_S = 2.0
WEBHOOK_CHECK_S = 300.0
POLL_MARGIN_S = 10.0
MAX_MOVED_CHATS = 1_000


class GetRawUpdates(TelegramMethod[list[dict[str, Any]]]):
    """getUpdates without aiogram's validation, so that one odd update cannot hold up all others."""

    __returning__ = list[dict[str, Any]]
    __api_method__ = "getUpdates"

    offset: int | None = None
    timeout: int | None = None
    allowed_updates: list[str] | None = None


class TelegramConnector:
    """One bot.

    Args:
        public_url: how Telegram reaches this hub; empty asks for updates by long polling instead.
        quarantine: is told of updates that can never be processed.
        live: source of live text; None shows "typing" only.

    Raises: SettingsError: token or webhook secret cannot be right.
    """

    name = "telegram"

    def __init__(
        self, settings: TelegramSettings, public_url: str, *, quarantine: Quarantine, live: Live | None = None
    ) -> None:
        self.ignored: Counter[str] = Counter()
        """How many updates were left alone, by reason."""
        self._settings = settings
        self._public_url = public_url.rstrip("/")
        self._quarantine = quarantine
        self._live = live
        self._secret = _webhook_secret(settings)
        self._client = Client(settings.token.get_secret_value(), settings.api_base)
        self._display = Display(
            self._client,
            live,
            interval_s=settings.edit_interval_s,
            drafts=settings.stream and live is not None,
        )
        self._notices = Notices(self._client)
        self._intake: Intake | None = None
        self._moved: dict[int, int] = {}
        self._sending = 0
        self._has_ended = False

    def routes(self) -> list[web.RouteDef]:
        """Return the webhook for the hub's HTTP server, none when polling; 503 while `run` is not ready."""
        if not self._public_url:
            return []
        return [web.post(webhook.PATH, Webhook(self._secret, self._take_body, self._quarantine).handle)]

    async def run(self, publish: Publish) -> None:
        """Take updates in until cancelled; a wrong token or an absent network is logged and tried again."""
        self._has_ended = False
        try:
            user = await self._persist(GetMe())
            me = Me(self._client.bot_id, user.username or "")
            self._intake = Intake(
                me,
                publish,
                notices=self._notices,
                display=self._display,
                stream=self._settings.stream,
                ignored=self.ignored,
            )
            await self._set_commands()
            if self._public_url:
                await self._receive()
            else:
                await self._poll()
        finally:
            self._intake = None
            await self._display.close()
            await self._notices.close()
            self._has_ended = True
            await self._close_if_idle()

    async def close(self) -> None:
        """Close the connections to Telegram; needed only where `run` was never started."""
        await self._client.close()

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Send a reply part by part, from the first part that Telegram has not confirmed.

        A part whose request got no answer is sent again: seeing it twice is better than never.

        Raises:
            RetryLater: Telegram asks to wait, or cannot be reached.
            DeliveryRefused: the bot is blocked, or the chat is gone.
        """
        self._sending += 1
        try:
            await self._end_display(message)
            if message.kind != "cancelled":
                await self._send_parts(message, progress)
        finally:
            self._sending -= 1
            await self._close_if_idle()

    # Out

    async def _close_if_idle(self) -> None:
        # Replies in flight outlive the intake while the hub drains; the last of them closes the door.
        if self._has_ended and not self._sending:
            await self._client.close()

    async def _send_parts(self, message: OutboundMessage, progress: Progress) -> None:
        try:
            chat = int(message.address.chat)
        except ValueError as error:
            raise DeliveryRefused("the address holds no chat id of Telegram") from error
        for number, part in enumerate(render(message)):
            if number in progress.placed_parts:
                continue
            if wait_s := self._client.quiet_s(self._moved.get(chat, chat)):
                raise RetryLater(wait_s, "Telegram asks to slow down")
            await progress.begin(number)
            sent = await self._place(chat, part, message, is_first=number == 0)
            await progress.placed(number, str(sent.message_id))

    async def _end_display(self, message: OutboundMessage) -> None:
        await self._display.end(message.conversation, message.turn)
        if self._live is None:
            return
        try:
            await self._live.announce(message)
        except HubError as error:
            log.debug("reply_not_announced", reason=str(error))

    async def _place(
        self, chat: int, part: Part, message: OutboundMessage, *, is_first: bool
    ) -> TelegramMessage:
        answered, topic = message.reply.get("message_id", ""), message.address.thread
        reply = None
        if is_first and answered.isdecimal():
            reply = ReplyParameters(message_id=int(answered), allow_sending_without_reply=True)
        call = SendMessage(
            chat_id=self._moved.get(chat, chat),
            message_thread_id=int(topic) if topic.isdecimal() else None,
            text=part.text,
            entities=part.entities,
            reply_parameters=reply,
            # A preview makes Telegram fetch an address that the model wrote.
            link_preview_options=LinkPreviewOptions(is_disabled=True),
            parse_mode=None,
        )
        try:
            return await self._call_moving(call, chat)
        except FormattingRefused as error:
            log.warning("formatting_refused", turn=message.turn, reason=str(error))
            return await self._call_moving(call.model_copy(update={"entities": None}), chat)

    async def _call_moving(self, call: SendMessage, chat: int) -> TelegramMessage:
        try:
            return await self._client.call(call)
        except ChatMoved as error:
            self._remember_move(chat, error.chat)
        try:
            return await self._client.call(call.model_copy(update={"chat_id": self._moved[chat]}))
        except ChatMoved as error:
            raise DeliveryRefused("the group moved again and again") from error

    def _remember_move(self, chat: int, new_chat: int) -> None:
        log.info("chat_moved", chat=chat, new_chat=new_chat)
        if len(self._moved) >= MAX_MOVED_CHATS:
            self._moved.pop(next(iter(self._moved)))
        self._moved[chat] = new_chat

    # In

    async def _take_body(self, body: bytes) -> None:
        if self._intake is None:
            raise BusError("the connector is starting or stopping")
        await self._intake.take(parse(body))

    async def _receive(self) -> None:
        url = f"{self._public_url}{webhook.PATH}"
        await self._set_webhook(url)
        await self._keep_webhook(url)

    async def _set_webhook(self, url: str) -> None:
        await self._persist(
            SetWebhook(
                url=url,
                secret_token=self._secret,
                allowed_updates=ALLOWED_UPDATES,
                max_connections=MAX_CONNECTIONS,
            )
        )
        log.info("webhook_set", url=url)

    async def _keep_webhook(self, url: str) -> None:
        """Notice when Telegram stops delivering: nothing else would tell of it."""
        told_of = None
        while True:
            await asyncio.sleep(WEBHOOK_CHECK_S)
            info = await self._persist(GetWebhookInfo())
            if info.url != url:
                # Another program with this token has removed or replaced it.
                log.warning("webhook_taken_away")
                await self._set_webhook(url)
            elif info.last_error_date and info.last_error_date != told_of:
                told_of = info.last_error_date
                waiting = info.pending_update_count
                log.warning("webhook_failed", reason=info.last_error_message, waiting=waiting)

    async def _poll(self) -> None:
        await self._persist(DeleteWebhook(drop_pending_updates=False))
        log.info("polling_started")
        timeout_s = self._settings.poll_timeout_s
        offset = None
        while True:
            call = GetRawUpdates(offset=offset, timeout=round(timeout_s), allowed_updates=ALLOWED_UPDATES)
            for update in await self._persist(call, timeout_s + POLL_MARGIN_S):
                await self._take_until_stored(update)
                # Telegram forgets an update once a higher offset is asked for: not before it is stored here.
                offset = _next_offset(update, offset)

    async def _take_until_stored(self, update: dict[str, Any]) -> None:
        while True:
            try:
                await self._take_polled(update)
            except BusError as error:
                wait_s = error.retry_after_s if isinstance(error, BusFull) else BUS_RETRY_S
                log.warning("update_not_published", reason=str(error), retry_in_s=wait_s)
                await asyncio.sleep(wait_s)
            else:
                return

    async def _take_polled(self, update: dict[str, Any]) -> None:
        assert self._intake is not None
        try:
            await self._intake.take(update)
        except Unreadable as error:
            body = json.dumps(update).encode()
            log.warning("update_quarantined", reason=str(error), size_bytes=len(body))
            await self._quarantine("telegram", str(error), body)

    async def _set_commands(self) -> None:
        commands = [BotCommand(command=name, description=text) for name, text in COMMANDS.items()]
        try:
            await self._client.call(SetMyCommands(commands=commands))
        except ConnectorError as error:
            log.info("commands_not_set", reason=str(error))

    async def _persist(self, method: TelegramMethod[T], timeout_s: float | None = None) -> T:
        """Repeat a call until Telegram takes it."""
        wait_s = 1.0
        while True:
            try:
                return await self._client.call(method, timeout_s)
            except ConnectorError as error:
                call = method.__api_method__
                if isinstance(error, TokenRefused):
                    log.error("telegram_token_refused", call=call, reason=error.reason)
                else:
                    log.warning("telegram_call_failed", call=call, reason=str(error))
                # How soon an unreachable Telegram is tried again is decided here, by doubling.
                asked_s = 0.0
                if isinstance(error, RetryLater) and not isinstance(error, Unreachable):
                    asked_s = error.retry_after_s
                await asyncio.sleep(max(wait_s, asked_s))
                wait_s = min(wait_s * 2, MAX_BACK_OFF_S)


def _webhook_secret(settings: TelegramSettings) -> str:
    chosen = settings.webhook_secret.get_secret_value()
    if chosen and not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", chosen):
        raise SettingsError("telegram.webhook_secret: expected 1 to 256 of the characters A-Z a-z 0-9 _ -")
    # Derived, so that every process of the hub knows the same one without being told.
    token = settings.token.get_secret_value().encode()
    return chosen or hmac.digest(token, b"hubbub telegram webhook", "sha256").hex()


def _next_offset(update: dict[str, Any], offset: int | None) -> int | None:
    update_id = update.get("update_id")
    return update_id + 1 if type(update_id) is int else offset
