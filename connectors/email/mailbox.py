"""One folder of one account, watched for ever: catch up by UID, wait by IDLE, come back after every failure."""

import asyncio
import random
import ssl
import time
from datetime import timedelta

import structlog
from pydantic import ValidationError

from connectors.base import Publish
from connectors.email.imap import METADATA_BATCH, Folder, ImapClient, MailboxUnreachable, MailInfo
from connectors.email.intake import Intake
from connectors.email.state import Store, Watermark, digest
from hub.errors import BusError, BusFull
from hub.messages import utc_now
from hub.settings import EmailSettings, MailAccountSettings

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 3
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 300.0
ALARM_S = 600.0
ATTEMPTS_KEPT_S = 7 * 86_400.0

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


class Mailbox:
    """Reads one folder; every mail in it is dealt with once."""

    def __init__(
        self,
        account: MailAccountSettings,
        settings: EmailSettings,
        store: Store,
        intake: Intake,
        tls: ssl.SSLContext,
    ) -> None:
        self._account = account
        self._settings = settings
        self._store = store
        self._intake = intake
        self._tls = tls
        self._name = f"{account.address.lower()}/{account.folder}"
        self._failures = 0
        self._well_at = time.monotonic()

    async def run(self, publish: Publish) -> None:
        """Watch the folder until cancelled."""
        while True:
            least_s = 0.0
            try:
                await self._session(publish)
            except BusFull as error:
                least_s = error.retry_after_s
                log.warning("mailbox_paused", mailbox=self._name, reason=str(error))
            except BusError as error:
                log.warning("mailbox_paused", mailbox=self._name, reason=str(error))
            except MailboxUnreachable as error:
                down_s = time.monotonic() - self._well_at
                level = log.error if down_s > ALARM_S else log.warning
                level("mailbox_unreachable", mailbox=self._name, reason=str(error), down_s=round(down_s))
            except Exception:
                # One account's trouble must not stop the others.
                log.exception("mailbox_failed", mailbox=self._name)
            await asyncio.sleep(max(least_s, self._backoff_s()))

    def _backoff_s(self) -> float:
        longest = min(FIRST_BACKOFF_S * 2.0**self._failures, LONGEST_BACKOFF_S)
        self._failures = min(self._failures + 1, 20)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads reconnects, hides nothing

    async def _session(self, publish: Publish) -> None:
        client = ImapClient(
            self._account,
            self._tls,
            timeout_s=self._settings.command_timeout_s,
            max_bytes=self._settings.max_mail_bytes,
        )
        try:
            await client.open()
            folder = await client.select(self._account.folder)
            watermark = await self._watermark(client, folder)
            while True:
                watermark = await self._catch_up(client, folder, watermark, publish)
                self._failures = 0
                self._well_at = time.monotonic()
                await self._wait(client)
        finally:
            await client.close()

    async def _wait(self, client: ImapClient) -> None:
        """Wait for new mail; the search that follows is the truth, IDLE only makes it come early."""
        if client.has_idle:
            if not client.saw_change:
                await client.idle(min(self._settings.idle_s, self._settings.poll_s))
        else:
            await asyncio.sleep(self._settings.poll_s)
            await client.noop()

    async def _watermark(self, client: ImapClient, folder: Folder) -> Watermark:
        """Return where to go on; at the first look, and when the UIDs have changed, at the first recent mail."""
        value = await self._store.get(self._watermark_key)
        try:
            stored = Watermark.model_validate_json(value) if value else None
        except ValidationError:
            stored = None
        if stored is not None and stored.uid_validity == folder.uid_validity:
            return stored
        # One day more than needed: SINCE compares days in the server's time zone.
        since = utc_now() - timedelta(days=self._settings.max_age_days + 1)
        recent = await client.uids("SINCE", f"{since.day:02d}-{_MONTHS[since.month - 1]}-{since.year}")
        if recent:
            last_uid = recent[0] - 1
        elif folder.uid_next:
            last_uid = folder.uid_next - 1
        else:
            last_uid = max(await client.uids("ALL"), default=0)
        log.info("mailbox_scanned", mailbox=self._name, is_first=stored is None, mails=len(recent))
        return await self._advance(Watermark(uid_validity=folder.uid_validity, last_uid=last_uid))

    async def _catch_up(
        self, client: ImapClient, folder: Folder, watermark: Watermark, publish: Publish
    ) -> Watermark:
        # `n:*` names the last mail even when its UID is below n.
        found = await client.uids("UID", f"{watermark.last_uid + 1}:*")
        waiting = [uid for uid in found if uid > watermark.last_uid]
        for start in range(0, len(waiting), METADATA_BATCH):
            batch = waiting[start : start + METADATA_BATCH]
            told = {info.uid: info for info in await client.infos(batch)}
            for uid in batch:
                # What the server told nothing readable of may still be there: only fetching it tells.
                info = told.get(uid) or MailInfo(uid=uid, size_bytes=0, arrived_at=utc_now(), is_marked=False)
                if not info.is_marked:
                    await self._deal_with(client, folder, info, publish)
                # Only now: until here a crash brings this mail back.
                watermark = await self._advance(watermark.model_copy(update={"last_uid": info.uid}))
                if folder.keeps_keyword and uid in told and not info.is_marked:
                    await client.mark(info.uid)
        return watermark

    async def _deal_with(self, client: ImapClient, folder: Folder, info: MailInfo, publish: Publish) -> None:
        source = f"email:{self._name}:{folder.uid_validity}:{info.uid}"
        if info.size_bytes > self._settings.max_mail_bytes:
            await self._intake.put_aside(source, f"larger than {self._settings.max_mail_bytes} bytes", b"")
            return
        raw: bytes | None = None
        try:
            raw = await client.raw(info.uid)
            if raw is not None:
                await self._intake.take(raw, source=source, arrived_at=info.arrived_at, publish=publish)
        except BusError:
            # Not the mail's fault.
            raise
        except Exception as error:
            key = f"email:attempts:{digest(self._name)}:{folder.uid_validity}:{info.uid}"
            attempts = await self._store.increment(key, ATTEMPTS_KEPT_S)
            if attempts < MAX_ATTEMPTS:
                raise
            why = f"failed {attempts} times: {type(error).__name__}"
            await self._intake.put_aside(source, why, raw or b"")

    async def _advance(self, watermark: Watermark) -> Watermark:
        await self._store.set(self._watermark_key, watermark.model_dump_json())
        return watermark

    @property
    def _watermark_key(self) -> str:
        return f"email:watermark:{digest(self._name)}"
