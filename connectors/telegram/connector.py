"""The Telegram channel: updates in by webhook or long polling, replies out part by part."""

import hmac
import json
import re
from collections import Counter
from typing import Any

import structlog
from aiogram.methods import GetMe, SetMyCommands
from aiogram.types import BotCommand
from aiohttp import web

from connectors.base import Progress, Publish
from connectors.telegram import webhook
from connectors.telegram.bot import Bot
from connectors.telegram.buttons import Buttons
from connectors.telegram.chats import Chats
from connectors.telegram.client import Client
from connectors.telegram.delivery import Delivery
from connectors.telegram.display import Display
from connectors.telegram.events import Me
from connectors.telegram.intake import Intake
from connectors.telegram.lease import PollerLease
from connectors.telegram.notices import Notices
from connectors.telegram.polling import Polling
from connectors.telegram.ports import Ports
from connectors.telegram.reception import Reception, WebhookCare
from connectors.telegram.strict_json import Unreadable, parse
from connectors.telegram.webhook import Callers, Webhook
from hub.errors import BusError, ConnectorError, HubError, SettingsError
from hub.messages import OutboundMessage
from hub.settings import TelegramSettings

log = structlog.get_logger(__name__)

COMMANDS = {
    "start": "Say hello",
    "help": "What I can do",
    "stop": "Stop the answer I am writing",
    "new": "Begin a new conversation",
    "model": "Choose the model that answers",
    "sources": "Where the last answer came from",
    "memory": "What I remember about you",
    "style": "How I answer you",
    "search_history": "Find what we talked about",
    "forget": "Forget all of that",
    "link": "Join your other channels",
    "unlink": "Part this channel from the others",
}


class TelegramConnector:
    """One bot.

    Args:
        public_url: how Telegram reaches this hub; empty asks for updates by long polling instead.
        ports: what the connector needs of the hub.
        callers: who may call the webhook.

    Raises: SettingsError: token or webhook secret cannot be right.
    """

    name = "telegram"

    def __init__(
        self, settings: TelegramSettings, public_url: str, ports: Ports, callers: Callers | None = None
    ) -> None:
        self._settings = settings
        self._public_url = public_url.rstrip("/")
        self._ports = ports
        self._callers = callers or Callers()
        self._secret = _webhook_secret(settings)
        token = settings.token.get_secret_value()
        self._client = Client(token, settings.api_base)
        drafts = settings.stream and ports.live is not None
        self._bot = Bot(
            client=self._client,
            ports=ports,
            chats=Chats(self._client.bot_id, ports.store),
            buttons=Buttons(token),
            display=Display(self._client, ports.live, interval_s=settings.edit_interval_s, drafts=drafts),
            notices=Notices(self._client),
        )
        self._delivery = Delivery(self._bot)
        self._intake: Intake | None = None
        self._taken = 0
        self._sending = 0
        self._has_ended = False

    @property
    def ignored(self) -> Counter[str]:
        """How many updates were left alone, by reason."""
        return self._bot.ignored

    def routes(self) -> list[web.RouteDef]:
        """Return the webhook for the hub's HTTP server, none when polling; 503 while `run` is not ready."""
        if not self._public_url:
            return []
        hook = Webhook(self._secret, self._take_body, self._ports.quarantine, self._callers)
        return [web.post(webhook.PATH, hook.handle)]

    async def run(self, publish: Publish) -> None:
        """Take updates in until cancelled; a wrong token or an absent network is logged and tried again."""
        self._has_ended = False
        intake = None
        try:
            user = await self._client.persist(GetMe())
            me = Me(self._client.bot_id, user.username or "")
            intake = Intake(me, publish, self._bot, stream=self._settings.stream)
            await intake.resume()
            self._intake = intake
            await self._set_commands()
            await self._reception().run()
        finally:
            self._intake = None
            if intake is not None:
                await intake.close()
            await self._bot.display.close()
            await self._bot.notices.close()
            self._has_ended = True
            await self._close_if_idle()

    async def close(self) -> None:
        """Close the connections to Telegram; needed only where `run` was never started."""
        await self._client.close()

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Send a reply part by part, from the first part that Telegram has not confirmed.

        Raises:
            RetryLater: Telegram asks to wait, or cannot be reached.
            DeliveryRefused: the bot is blocked, or the chat is gone.
        """
        self._sending += 1
        try:
            await self._end_display(message)
            if message.kind != "cancelled":
                await self._delivery.send(message, progress)
        finally:
            self._sending -= 1
            await self._close_if_idle()

    async def _close_if_idle(self) -> None:
        # Replies in flight outlive the intake while the hub drains; the last of them closes the door.
        if self._has_ended and not self._sending:
            await self._client.close()

    async def _end_display(self, message: OutboundMessage) -> None:
        await self._bot.display.end(message.conversation, message.turn)
        if self._ports.live is None:
            return
        try:
            await self._ports.live.announce(message)
        except HubError as error:
            log.debug("reply_not_announced", reason=str(error))

    def _reception(self) -> Reception:
        lease = PollerLease(self._client.bot_id, self._ports.store)
        timeout_s = self._settings.poll_timeout_s
        polling = Polling(self._client, lease, self._take_polled, timeout_s=timeout_s)
        if not self._public_url:
            return Reception(None, polling)
        url = f"{self._public_url}{webhook.PATH}"
        care = WebhookCare(self._client, lease, url=url, secret=self._secret, taken=lambda: self._taken)
        return Reception(care, polling)

    async def _take_body(self, body: bytes) -> None:
        if self._intake is None:
            raise BusError("the connector is starting or stopping")
        await self._intake.take(parse(body))
        self._taken += 1

    async def _take_polled(self, update: dict[str, Any]) -> None:
        assert self._intake is not None
        try:
            await self._intake.take(update)
        except Unreadable as error:
            body = json.dumps(update).encode()
            log.warning("update_quarantined", reason=str(error), size_bytes=len(body))
            await self._ports.quarantine("telegram", str(error), body)

    async def _set_commands(self) -> None:
        commands = [BotCommand(command=name, description=text) for name, text in COMMANDS.items()]
        try:
            await self._client.call(SetMyCommands(commands=commands))
        except ConnectorError as error:
            log.info("commands_not_set", reason=str(error))


def _webhook_secret(settings: TelegramSettings) -> str:
    chosen = settings.webhook_secret.get_secret_value()
    if chosen and not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", chosen):
        raise SettingsError("telegram.webhook_secret: expected 1 to 256 of the characters A-Z a-z 0-9 _ -")
    # Derived, so that every process of the hub knows the same one without being told.
    token = settings.token.get_secret_value().encode()
    return chosen or hmac.digest(token, b"hubbub telegram webhook", "sha256").hex()
