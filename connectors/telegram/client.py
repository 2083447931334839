"""Calls of the Bot API, with aiogram's errors turned into the hub's in one place."""

import asyncio
from typing import Any, TypeVar

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    AiogramError,
    TelegramAPIError,
    TelegramBadRequest,
    TelegramConflictError,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.methods.base import TelegramMethod
from aiogram.utils.token import TokenValidationError
from aiohttp import ClientConnectorError, ConnectionTimeoutError, InvalidURL

from hub.errors import ConnectorError, DeliveryRefused, RetryLater, SettingsError

T = TypeVar("T")

CALL_TIMEOUT_S = 30.0
RETRY_S = 5.0
TOKEN_RETRY_S = 60.0
MAX_QUIET_CHATS = 10_000


class FormattingRefused(DeliveryRefused):
    """Telegram cannot read the entities; the same text may pass without them."""


class TokenRefused(RetryLater):
    """Telegram does not know the token; only the operator can cure it."""


class Unreachable(RetryLater):
    """Telegram gave no usable answer; unless no connection was made, it may have carried the call out."""


class ChatMoved(ConnectorError):
    """The group became a supergroup and goes on under another id."""

    def __init__(self, chat: int) -> None:
        super().__init__("the group has a new chat id")
        self.chat = chat


class Client:
    """One bot's connection to the Bot API.

    Raises: SettingsError: the token does not look like one.
    """

    def __init__(self, token: str, api_base: str) -> None:
        session = AiohttpSession(api=TelegramAPIServer.from_base(api_base))
        try:
            self._bot = Bot(token, session=session)
        except TokenValidationError:
            raise SettingsError(
                "telegram.token: expected a token of @BotFather such as 123456:AbC..."
            ) from None
        self._token = token
        self._quiet: dict[int, float] = {}

    @property
    def bot_id(self) -> int:
        """The bot's own user id."""
        return self._bot.id

    def quiet_s(self, chat: int) -> float:
        """Return for how long Telegram asked to leave this chat alone; 0 when it did not."""
        left = self._quiet.get(chat, 0.0) - asyncio.get_running_loop().time()
        if left <= 0:
            self._quiet.pop(chat, None)
        return max(left, 0.0)

    async def call(self, method: TelegramMethod[T], timeout_s: float | None = None) -> T:
        """Make one call, by default within CALL_TIMEOUT_S.

        Raises:
            RetryLater: Telegram asks to wait; TokenRefused or Unreachable where that is the reason.
            DeliveryRefused: Telegram refused this call for good; FormattingRefused where plain text may pass.
            ChatMoved: the chat has another id by now.
        """
        try:
            return await self._bot(method, request_timeout=round(timeout_s or CALL_TIMEOUT_S))
        except (AiogramError, OSError) as error:
            failure = self._failure(error, getattr(method, "chat_id", None))
        # Not chained: an error of the HTTP client may quote the URL, and the URL holds the token.
        raise failure from None

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        await self._bot.session.close()

    def _failure(self, error: Exception, chat: object) -> ConnectorError:
        text = error.message if isinstance(error, TelegramAPIError) else type(error).__name__
        text = text.replace(self._token, "<token>")
        match error:
            case TelegramRetryAfter():
                self._keep_quiet(chat, error.retry_after)
                return RetryLater(error.retry_after, "Telegram asks to slow down")
            case TelegramMigrateToChat():
                return ChatMoved(error.migrate_to_chat_id)
            case TelegramUnauthorizedError() | TelegramNotFound():
                return TokenRefused(TOKEN_RETRY_S, f"Telegram does not accept the token ({text})")
            case TelegramBadRequest() if "entit" in text.lower():
                return FormattingRefused(text)
            case TelegramBadRequest() | TelegramForbiddenError() | TelegramEntityTooLarge():
                return DeliveryRefused(text)
            case TelegramConflictError():
                return RetryLater(RETRY_S, f"another program uses this bot ({text})")
            case _:
                return Unreachable(
                    RETRY_S, f"Telegram cannot be reached ({text})", unclear=_may_have_arrived(error)
                )

    def _keep_quiet(self, chat: Any, retry_after_s: float) -> None:
        if isinstance(chat, int):
            while len(self._quiet) >= MAX_QUIET_CHATS:
                self._quiet.pop(next(iter(self._quiet)))
            self._quiet[chat] = asyncio.get_running_loop().time() + retry_after_s


def _may_have_arrived(error: Exception) -> bool:
    # Refused, unresolved and timed-out connections: not a byte of the request has left.
    return not isinstance(error.__cause__, ClientConnectorError | ConnectionTimeoutError | InvalidURL)
