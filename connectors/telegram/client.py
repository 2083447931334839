"""Calls of the Bot API, with aiogram's errors turned into the hub's in one place."""

import asyncio
import contextlib
from typing import Any, TypeVar

import structlog
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
from aiogram.methods import GetFile
from aiogram.methods.base import TelegramMethod
from aiogram.utils.token import TokenValidationError
from aiohttp import ClientConnectorError, ClientError, ConnectionTimeoutError, InvalidURL

from hub.errors import ConnectorError, DeliveryRefused, RetryLater, SettingsError

log = structlog.get_logger(__name__)

T = TypeVar("T")

CALL_TIMEOUT_S = 30.0
RETRY_S = 5.0
TOKEN_RETRY_S = 60.0
MAX_QUIET_CHATS = 10_000
MAX_BACK_OFF_S = 60.0


class FormattingRefused(DeliveryRefused):
    """Telegram cannot read the entities; the same text may pass without them."""


class TokenRefused(RetryLater):
    """Telegram does not know the token; only the operator can cure it."""


class Conflict(RetryLater):
    """Updates are asked for elsewhere, too, or by webhook and by polling at the same time."""


class FileTooLarge(ConnectorError):
    """A file is larger than the limit; nothing of it is kept."""


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

    async def persist(
        self,
        method: TelegramMethod[T],
        timeout_s: float | None = None,
        *,
        except_for: tuple[type[ConnectorError], ...] = (),
    ) -> T:
        """Repeat a call until Telegram takes it.

        Args:
            except_for: errors that are raised all the same.
        """
        wait_s = 1.0
        while True:
            try:
                return await self.call(method, timeout_s)
            except except_for:
                raise
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

    async def download(self, file_id: str, limit_bytes: int) -> bytes:
        """Fetch a file.

        Raises:
            FileTooLarge: it has more than `limit_bytes`, or more than Telegram hands out.
            DeliveryRefused: Telegram does not hand it out.
            RetryLater: Telegram asks to wait, or cannot be reached.
        """
        try:
            file = await self.call(GetFile(file_id=file_id))
        except DeliveryRefused as error:
            if "too big" in str(error):
                raise FileTooLarge(str(error)) from None
            raise
        if (file.file_size or 0) > limit_bytes:
            raise FileTooLarge(f"the file has {file.file_size} bytes")
        url = self._bot.session.api.file_url(self._token, file.file_path or "")
        data = bytearray()
        try:
            async with contextlib.aclosing(
                self._bot.session.stream_content(url, timeout=round(CALL_TIMEOUT_S))
            ) as chunks:
                async for chunk in chunks:
                    data += chunk
                    if len(data) > limit_bytes:
                        raise FileTooLarge(f"the file has more than {limit_bytes} bytes")
        except (ClientError, OSError) as error:
            reason = f"the file cannot be fetched ({type(error).__name__})"
        else:
            return bytes(data)
        # Not chained: an error of the HTTP client may quote the URL, and the URL holds the token.
        raise Unreachable(RETRY_S, reason)

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
                return Conflict(RETRY_S, f"another program uses this bot ({text})")
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
