"""One folder of one account, watched for ever: catch up by UID, wait by IDLE, come back after every failure."""

import asyncio
import random
import ssl
import time
from collections.abc import Sequence
from datetime import timedelta

import structlog
from pydantic import ValidationError

from connectors.base import Publish
from connectors.email.imap import CommandRefused, Folder, ImapClient, MailboxUnreachable
from connectors.email.imap_wire import MailInfo
from connectors.email.intake import Decision, Intake
from connectors.email.state import Watermark, digest
from connectors.store import Store
from hub.email_settings import EmailSettings, MailAccountSettings
from hub.errors import BusError, BusFull
from hub.messages import utc_now

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 3
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 300.0
LONGEST_PAUSE_S = 60.0
"""Between two batches: far less than the 30 minutes after which a server may log out. Source: RFC 3501 section 5.4."""
ALARM_S = 600.0
ATTEMPTS_KEPT_S = 7 * 86_400.0
SERVER_TROUBLE_S = 900.0
"""Where the server fails to hand a mail out, it may be the server: so long it gets before the mail is put aside."""

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
            # What an earlier process published and could not put away any more comes first.
            watermark = await self._put_away(client, await self._watermark(client, folder))
            while True:
                watermark = await self._catch_up(client, folder, watermark, publish)
                self._is_well()
                await self._wait(client)
        finally:
            await client.close()

    def _is_well(self) -> None:
        self._failures = 0
        self._well_at = time.monotonic()

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
        return await self._keep(Watermark(uid_validity=folder.uid_validity, last_uid=last_uid))

    async def _catch_up(
        self, client: ImapClient, folder: Folder, watermark: Watermark, publish: Publish
    ) -> Watermark:
        # `n:*` names the last mail even when its UID is below n.
        found = await client.uids("UID", f"{watermark.last_uid + 1}:*")
        waiting = [uid for uid in found if uid > watermark.last_uid]
        for start in range(0, len(waiting), self._settings.batch):
            batch = waiting[start : start + self._settings.batch]
            watermark, wait_s = await self._take(client, folder, watermark, batch, publish)
            self._is_well()
            if start + len(batch) < len(waiting):
                # Half of what is published is answered meanwhile: the model stays full, and others get their turn.
                await asyncio.sleep(min(wait_s / 2, LONGEST_PAUSE_S))
        return watermark

    async def _take(
        self,
        client: ImapClient,
        folder: Folder,
        watermark: Watermark,
        uids: Sequence[int],
        publish: Publish,
    ) -> tuple[Watermark, float]:
        """Decide about some mails, one after the other, then publish them all at once.

        Returns: how far the folder is read now, and the estimated seconds until the last of them is taken up.
        """
        told = {info.uid: info for info in await client.infos(uids)}
        decided: dict[int, Decision] = {}
        failure: Exception | None = None
        for uid in uids:
            try:
                decided[uid] = await self._decide(client, folder, uid, told.get(uid))
            except Exception as error:  # those before it are published all the same
                failure = error
                break
            if client.is_lost:
                # The next mail is not to blame for it.
                failure = MailboxUnreachable("the connection was lost")
                break
        waits_s, failures = await self._publish_all(folder, decided, publish)
        if done := _leading(decided, waits_s):
            # Only now: until here a crash brings these mails back.
            advanced = self._advanced(client, folder, {uid: decided[uid] for uid in done}, told)
            watermark = await self._put_away(client, await self._keep(advanced))
        if failures:
            raise failures[0]
        if failure is not None:
            raise failure
        return watermark, max(waits_s.values(), default=0.0)

    def _advanced(
        self, client: ImapClient, folder: Folder, done: dict[int, Decision], told: dict[int, MailInfo]
    ) -> Watermark:
        """Return the watermark behind what is done, with what is to be marked and moved of it."""
        moves = self._account.done == "move" and client.can_move
        to_move = [uid for uid, decision in done.items() if moves and decision.was_published and uid in told]
        to_mark = [uid for uid in done if uid in told and uid not in to_move and not told[uid].is_marked]
        return Watermark(
            uid_validity=folder.uid_validity,
            last_uid=max(done),
            to_mark=tuple(to_mark if folder.keeps_keyword else ()),
            to_move=tuple(to_move),
        )

    async def _decide(self, client: ImapClient, folder: Folder, uid: int, told: MailInfo | None) -> Decision:
        # What the server told nothing readable of may still be there: only fetching it tells.
        info = told or MailInfo(uid=uid, size_bytes=0, arrived_at=utc_now(), is_marked=False)
        source = self._source(folder, uid)
        if info.is_marked:
            return Decision(source=source, outcome="ignored")
        if info.size_bytes > self._settings.max_mail_bytes:
            why = f"larger than {self._settings.max_mail_bytes} bytes"
            return await self._intake.put_aside(source, why, b"")
        raw: bytes | None = None
        try:
            raw = await client.raw(uid)
            if raw is None:
                return Decision(source=source, outcome="ignored")
            return await self._intake.decide(raw, source=source, arrived_at=info.arrived_at)
        except BusError:
            # Not the mail's fault.
            raise
        except Exception as error:
            return await self._failed(folder, uid, error, raw or b"")

    async def _failed(self, folder: Folder, uid: int, error: Exception, raw: bytes) -> Decision:
        """Count a failure on a mail; it is put aside in the end, so that the ones behind it get their turn."""
        key = f"email:attempts:{digest(self._name)}:{folder.uid_validity}:{uid}"
        attempts = await self._store.increment(key, ATTEMPTS_KEPT_S)
        now_s = utc_now().timestamp()
        first_s = float(await self._store.keep_first(f"{key}:since", str(now_s), ATTEMPTS_KEPT_S))
        may_be_server = isinstance(error, MailboxUnreachable | CommandRefused)
        if attempts < MAX_ATTEMPTS or (may_be_server and now_s - first_s < SERVER_TROUBLE_S):
            raise error
        why = f"failed {attempts} times: {type(error).__name__}"
        return await self._intake.put_aside(self._source(folder, uid), why, raw)

    async def _publish_all(
        self, folder: Folder, decided: dict[int, Decision], publish: Publish
    ) -> tuple[dict[int, float], list[Exception]]:
        """Publish all conversations at once, each in its order.

        Returns: estimated wait of each published mail, and what went wrong: the mail it happened to, and those
            behind it in its conversation, are not published.
        """
        waits_s: dict[int, float] = {}

        async def publish_in_order(uids: Sequence[int]) -> None:
            for uid in uids:
                try:
                    waits_s[uid] = await self._intake.publish(decided[uid], publish)
                except BusError:
                    raise
                except Exception as error:
                    decided[uid] = await self._failed(folder, uid, error, b"")

        conversations: dict[str, list[int]] = {}
        for uid, decision in decided.items():
            if decision.message is not None:
                conversations.setdefault(decision.message.conversation, []).append(uid)
        results = await asyncio.gather(*map(publish_in_order, conversations.values()), return_exceptions=True)
        failures = [result for result in results if isinstance(result, Exception)]
        return waits_s, sorted(failures, key=_wait_of, reverse=True)

    async def _put_away(self, client: ImapClient, watermark: Watermark) -> Watermark:
        """Mark and move what is done with; where the server refuses, mail stays as it is."""
        if not watermark.to_mark and not watermark.to_move:
            return watermark
        try:
            if watermark.to_mark:
                await client.mark(watermark.to_mark)
            if watermark.to_move:
                await client.move(watermark.to_move, self._account.done_folder)
        except CommandRefused as error:
            log.warning("mail_not_put_away", mailbox=self._name, reason=str(error))
        return await self._keep(watermark.model_copy(update={"to_mark": (), "to_move": ()}))

    async def _keep(self, watermark: Watermark) -> Watermark:
        await self._store.set(self._watermark_key, watermark.model_dump_json())
        return watermark

    def _source(self, folder: Folder, uid: int) -> str:
        return f"email:{self._name}:{folder.uid_validity}:{uid}"

    @property
    def _watermark_key(self) -> str:
        return f"email:watermark:{digest(self._name)}"


def _leading(decided: dict[int, Decision], published: dict[int, float]) -> list[int]:
    """Return the UIDs from the first one on that nothing is left to be done for."""
    done: list[int] = []
    for uid, decision in decided.items():
        if decision.message is not None and uid not in published:
            break
        done.append(uid)
    return done


def _wait_of(error: Exception) -> float:
    return error.retry_after_s if isinstance(error, BusFull) else 0.0
