"""Updates by long polling: each is confirmed to Telegram only once it is stored here."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiogram.methods import DeleteWebhook
from aiogram.methods.base import TelegramMethod

from connectors.telegram.client import MAX_BACK_OFF_S, Client, Conflict
from connectors.telegram.lease import PollerLease
from hub.errors import BusError, BusFull

log = structlog.get_logger(__name__)

BUS_RETRY_S = 2.0
POLL_MARGIN_S = 10.0

ALLOWED_UPDATES = [
    "message",
    "edited_message",
    "callback_query",
    "my_chat_member",
    "stopped_message_generation",
]

Take = Callable[[dict[str, Any]], Awaitable[None]]
"""Deal with one update. Raises: BusError: it was not stored."""


class GetRawUpdates(TelegramMethod[list[dict[str, Any]]]):
    """getUpdates without aiogram's validation, so that one odd update cannot hold up all others."""

    __returning__ = list[dict[str, Any]]
    __api_method__ = "getUpdates"

    offset: int | None = None
    timeout: int | None = None
    allowed_updates: list[str] | None = None


class Polling:
    """Asks for updates, one process at a time.

    Args:
        timeout_s: how long Telegram holds a request open while there are none.
    """

    def __init__(self, client: Client, lease: PollerLease, take: Take, *, timeout_s: float) -> None:
        self._client = client
        self._lease = lease
        self._take = take
        self._timeout_s = timeout_s

    async def run(self, for_s: float | None = None) -> None:
        """Poll until cancelled, or for so long where the webhook is only out of order; no update is dropped.

        With `for_s` it also ends when somebody sets a webhook again.
        """
        clock = asyncio.get_running_loop().time
        until = None if for_s is None else clock() + for_s
        while until is None or clock() < until:
            # Whoever waits for another process to end its turn gives up with it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until), self._lease.held() as lost:
                    await self._delete_webhook()
                    if await self._poll(lost, is_stand_in=until is not None):
                        return

    async def _delete_webhook(self) -> None:
        await self._client.persist(DeleteWebhook(drop_pending_updates=False))
        log.info("polling_started")

    async def _poll(self, lost: asyncio.Event, *, is_stand_in: bool) -> bool:
        """Poll until the lease is lost; tells whether a webhook was set meanwhile."""
        offset = None
        wait_s = 1.0
        while not lost.is_set():
            call = GetRawUpdates(
                offset=offset, timeout=round(self._timeout_s), allowed_updates=ALLOWED_UPDATES
            )
            try:
                updates = await self._client.persist(
                    call, self._timeout_s + POLL_MARGIN_S, except_for=(Conflict,)
                )
            except Conflict as error:
                by_webhook = "webhook" in error.reason
                log.warning("polling_conflict", reason=error.reason, retry_in_s=wait_s)
                if by_webhook and is_stand_in:
                    return True
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, MAX_BACK_OFF_S)
                if by_webhook:
                    await self._delete_webhook()
                continue
            wait_s = 1.0
            for update in updates:
                await self._take_until_stored(update)
                # Telegram forgets an update once a higher offset is asked for: not before it is stored here.
                offset = _next_offset(update, offset)
        return False

    async def _take_until_stored(self, update: dict[str, Any]) -> None:
        while True:
            try:
                await self._take(update)
            except BusError as error:
                wait_s = error.retry_after_s if isinstance(error, BusFull) else BUS_RETRY_S
                log.warning("update_not_published", reason=str(error), retry_in_s=wait_s)
                await asyncio.sleep(wait_s)
            else:
                return


def _next_offset(update: dict[str, Any], offset: int | None) -> int | None:
    update_id = update.get("update_id")
    return update_id + 1 if type(update_id) is int else offset
