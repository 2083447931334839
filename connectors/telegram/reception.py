"""How updates come in: by webhook while it works, else by long polling."""

import asyncio
from collections.abc import Callable

import structlog
from aiogram.methods import GetWebhookInfo, SetWebhook
from aiogram.types import WebhookInfo

from connectors.telegram.client import Client
from connectors.telegram.lease import PollerLease
from connectors.telegram.polling import ALLOWED_UPDATES, Polling
from hub.errors import BusError, DeliveryRefused

log = structlog.get_logger(__name__)

MAX_CONNECTIONS = 40
CHECK_S = 600.0
SUSPECT_CHECK_S = 60.0
"""How often a webhook is looked at that is new or seems not to work."""
FRESH_S = 180.0
"""An error is a sign of trouble so long after it was first seen; Telegram tries again every 1 to 2 min."""
TAKE_OVER_S = 300.0
"""A webhook that has failed so long, with updates waiting, cannot be reached."""
TRY_AGAIN_S = 1800.0
"""For so long updates are asked for by polling then, before the webhook is tried again."""
RETRIAL_S = 60.0
"""How long it may fail once it has been out of order."""


class WebhookCare:
    """Keeps the webhook as it should be, and notices when it does not work.

    Args:
        taken: tells how many updates the webhook has been given so far.
    """

    def __init__(
        self, client: Client, lease: PollerLease, *, url: str, secret: str, taken: Callable[[], int]
    ) -> None:
        self._client = client
        self._lease = lease
        self._url = url
        self._secret = secret
        self._taken = taken
        self._as_set: WebhookInfo | None = None

    async def set(self) -> bool:
        """Set the webhook, secret included; tells whether Telegram takes the address."""
        call = SetWebhook(
            url=self._url,
            secret_token=self._secret,
            allowed_updates=ALLOWED_UPDATES,
            max_connections=MAX_CONNECTIONS,
            drop_pending_updates=False,
        )
        try:
            await self._client.persist(call, except_for=(DeliveryRefused,))
        except DeliveryRefused as error:
            log.error("webhook_refused", url=self._url, reason=str(error))
            return False
        self._as_set = await self._client.persist(GetWebhookInfo())
        log.info("webhook_set", url=self._url)
        return True

    async def watch(self, take_over_s: float) -> None:
        """Repair what others change; returns when the webhook cannot be reached.

        Args:
            take_over_s: how long it may fail while updates wait.
        """
        clock = asyncio.get_running_loop().time
        trouble = _Trouble(self._taken())
        while True:
            await asyncio.sleep(SUSPECT_CHECK_S if trouble.is_suspected else CHECK_S)
            info = await self._client.persist(GetWebhookInfo())
            if self._is_changed(info):
                if not await self._repair(info):
                    return
            elif trouble.lasts_s(info, self._taken(), clock()) >= take_over_s:
                return
            elif trouble.is_news and "401" in (info.last_error_message or ""):
                # Telegram was given another secret than ours.
                await self.set()

    def _is_changed(self, info: WebhookInfo) -> bool:
        expected = self._as_set
        return expected is None or (info.url, info.max_connections, set(info.allowed_updates or ())) != (
            self._url,
            expected.max_connections,
            set(expected.allowed_updates or ()),
        )

    async def _repair(self, info: WebhookInfo) -> bool:
        try:
            if not info.url and await self._lease.is_elsewhere():
                # Another process of this hub asks for updates meanwhile.
                return True
        except BusError as error:
            log.warning("poller_lease_unknown", reason=str(error))
        log.warning("webhook_taken_away" if info.url != self._url else "webhook_changed")
        return await self.set()


class _Trouble:
    """What several looks at a webhook say together."""

    def __init__(self, taken: int) -> None:
        self.is_suspected = True
        self.is_news = False
        """Whether the last look has found an error that was not known."""
        self._taken = taken
        self._waiting = 0
        self._error: object = None
        self._error_seen_at = 0.0
        self._began_at: float | None = None

    def lasts_s(self, info: WebhookInfo, taken: int, now: float) -> float:
        """Return for how long updates wait and errors come."""
        self.is_news = info.last_error_date is not None and info.last_error_date != self._error
        if self.is_news:
            self._error, self._error_seen_at = info.last_error_date, now
            waiting = info.pending_update_count
            log.warning("webhook_failed", reason=info.last_error_message, waiting=waiting)
        is_fresh = self._error is not None and now - self._error_seen_at < FRESH_S
        self.is_suspected = is_fresh and info.pending_update_count > 0
        if not self.is_suspected or taken != self._taken or info.pending_update_count < self._waiting:
            # Something came through, here or at another process.
            self._began_at = None
        elif self._began_at is None:
            self._began_at = now
        self._taken, self._waiting = taken, info.pending_update_count
        return 0.0 if self._began_at is None else now - self._began_at


class Reception:
    """Takes turns between webhook and polling; updates that wait at Telegram are never dropped."""

    def __init__(self, care: WebhookCare | None, polling: Polling) -> None:
        self._care = care
        self._polling = polling

    async def run(self) -> None:
        """Receive until cancelled."""
        if self._care is None:
            await self._polling.run()
            return
        take_over_s = TAKE_OVER_S
        while True:
            if await self._care.set():
                await self._care.watch(take_over_s)
            log.warning("webhook_out_of_order", polling_for_s=TRY_AGAIN_S)
            await self._polling.run(TRY_AGAIN_S)
            take_over_s = RETRIAL_S
