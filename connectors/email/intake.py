"""What becomes of one mail: published, left alone, or put aside for a person to look at."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Literal

import structlog

from connectors.base import Publish
from connectors.email.automatic import canonical
from connectors.email.compose import is_own_message_id
from connectors.email.mail import ParsedMail, ParseJob
from connectors.email.parser import MailParser, MailUnreadable
from connectors.email.state import Store, digest, external_key
from connectors.email.threads import Thread, Threads
from hub.errors import BusFull
from hub.messages import Address, Attachment, InboundMessage, utc_now
from hub.settings import EmailSettings, MailAccountSettings

log = structlog.get_logger(__name__)

Quarantine = Callable[[str, str, bytes], Awaitable[None]]
"""Put something aside: where it came from, why, and its bytes."""

Outcome = Literal["published", "ignored", "quarantined"]

SEEN_S = 90 * 86_400.0
THREAD_LIMIT_S = 30 * 86_400.0
LANE_FULL_RETRY_S = 60.0


class Intake:
    """Decides about the mails of one account."""

    def __init__(
        self,
        account: MailAccountSettings,
        settings: EmailSettings,
        store: Store,
        parser: MailParser,
        quarantine: Quarantine,
    ) -> None:
        self._account = account
        self._settings = settings
        self._store = store
        self._parser = parser
        self._quarantine = quarantine
        self._threads = Threads(store, account.address.lower())
        self._job = ParseJob(
            addresses=(account.address, *account.aliases),
            own=tuple(other.address for other in settings.accounts),
            authserv_id=account.authserv_id,
            answer_copies=settings.answer_copies,
        )

    async def take(self, raw: bytes, *, source: str, arrived_at: datetime, publish: Publish) -> Outcome:
        """Deal with one mail for good; repeating it after a failure changes nothing.

        Raises: BusError: nothing was decided, ask again later.
        """
        try:
            mail = await self._parser.parse(raw, self._job)
        except MailUnreadable as error:
            return await self.put_aside(source, str(error), raw)
        if mail.suspicious:
            return await self.put_aside(source, mail.suspicious, raw)
        if why := mail.automatic or self._refusal(mail, arrived_at):
            return self._leave(source, why)
        key = external_key(self._account.address.lower(), mail)
        seen_key = f"email:seen:{digest(key)}"
        seen = await self._store.get(seen_key)
        if seen == mail.content_digest:
            return self._leave(source, "duplicate")
        if seen is not None:
            return await self.put_aside(source, "two mails with the same Message-ID", raw)
        thread = await self._threads.find(mail, fallback_root=key)
        if why := await self._over_limit(key, thread):
            return self._leave(source, why)
        await self._publish(self._message(mail, key, thread), publish)
        await self._threads.remember(mail.message_id, thread)
        await self._store.set(seen_key, mail.content_digest, SEEN_S)
        log.info("mail_published", source=source, conversation=thread.conversation)
        return "published"

    async def put_aside(self, source: str, why: str, raw: bytes) -> Outcome:
        """Quarantine a mail; its sender hears nothing."""
        await self._quarantine(source, why, raw)
        log.warning("mail_quarantined", source=source, reason=why)
        return "quarantined"

    def _leave(self, source: str, why: str) -> Outcome:
        log.info("mail_ignored", source=source, reason=why)
        return "ignored"

    def _refusal(self, mail: ParsedMail, arrived_at: datetime) -> str:
        if is_own_message_id(mail.message_id, self._job.own):
            return "own_message"
        # A Date in the future or before e-mail tells nothing; a mailbox that was moved has fresh arrival times.
        sent_at = mail.date if mail.date and mail.date.year >= 1990 and mail.date < arrived_at else arrived_at
        return "too_old" if utc_now() - sent_at > timedelta(days=self._settings.max_age_days) else ""

    async def _over_limit(self, key: str, thread: Thread) -> str:
        """Count this mail once, however often it is looked at; no header can get around it."""
        counted_key = f"email:counted:{digest(key)}"
        if (verdict := await self._store.get(counted_key)) is not None:
            return verdict
        who = digest(thread.account, thread.participant)
        limits = (
            (
                f"email:limit:10min:{who}",
                600.0,
                self._settings.replies_per_sender_10min,
                "sender_10min_limit",
            ),
            (f"email:limit:day:{who}", 86_400.0, self._settings.replies_per_sender_day, "sender_day_limit"),
            (
                f"email:limit:thread:{thread.conversation}",
                THREAD_LIMIT_S,
                self._settings.replies_per_thread,
                "thread_limit",
            ),
        )
        verdict = ""
        for name, seconds, most, why in limits:
            if not verdict and await self._store.increment(name, seconds) > most:
                verdict = why
        await self._store.set(counted_key, verdict, 86_400.0)
        return verdict

    async def _publish(self, message: InboundMessage, publish: Publish) -> None:
        accepted = await publish(message)
        if accepted.lane_full:
            # Mail can wait: it stays where it is and is offered again.
            raise BusFull(LANE_FULL_RETRY_S)

    def _message(self, mail: ParsedMail, key: str, thread: Thread) -> InboundMessage:
        return InboundMessage(
            external_key=key,
            conversation=thread.conversation,
            address=Address(
                connector="email",
                account=self._account.address.lower(),
                chat=reply_address(mail, self._job.own),
                thread=thread.root,
                # From is not authenticated: what is learnt in a thread stays in it.
                person=thread.conversation,
            ),
            text=mail.text,
            quoted=mail.quoted,
            attachments=tuple(
                Attachment(name=file.name, media_type=file.media_type, size_bytes=file.size_bytes, text="")
                for file in mail.attachments
            ),
            reply={
                "to": reply_address(mail, self._job.own),
                "name": mail.sender_name,
                "participant": thread.participant,
                "subject": mail.subject,
                "message_id": mail.message_id,
                "references": " ".join(mail.references or mail.in_reply_to[:1]),
                "date": format_datetime(mail.date) if mail.date else "",
            },
        )


def reply_address(mail: ParsedMail, own: tuple[str, ...]) -> str:
    """Return where the reply goes: Reply-To only where it cannot be used to make us write to somebody else."""
    ours = {canonical(address) for address in own}
    wanted = [address for address in mail.reply_to if canonical(address) not in ours]
    domain = mail.sender.rpartition("@")[2]
    same_domain = next((address for address in wanted if address.rpartition("@")[2] == domain), "")
    if same_domain:
        return same_domain
    return wanted[0] if len(wanted) == 1 and mail.dmarc == "pass" else mail.sender
