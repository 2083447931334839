"""What becomes of one mail: published, left alone, or put aside for a person to look at."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Literal

import structlog

from connectors.base import AttachmentReader, Publish
from connectors.email.bounces import DeliveryReport
from connectors.email.brakes import SENDER_LIMITS, Brakes
from connectors.email.ids import is_own_message_id
from connectors.email.languages import language_of_mail
from connectors.email.mail import AttachedFile, ParsedMail, ParseJob
from connectors.email.no_answers import NoAnswers, Order, order_of
from connectors.email.notices import Notices
from connectors.email.outbox import Quarantine
from connectors.email.parser import MailParser, MailUnreadable
from connectors.email.state import digest, external_key
from connectors.email.threads import Thread, Threads
from connectors.store import Store
from hub.email_settings import EmailSettings, MailAccountSettings
from hub.errors import BusFull
from hub.messages import Address, Attachment, InboundMessage, utc_now
from hub.text import canonical_address

log = structlog.get_logger(__name__)

SEEN_S = 90 * 86_400.0
LANE_FULL_RETRY_S = 60.0
FILES_S = 30.0
"""For all files of a mail together."""
_PENDING = "pending:"
"""Before the digest of a mail that is decided to be published and may not be yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to become of one mail."""

    source: str
    outcome: Literal["publish", "duplicate", "ignored", "quarantined"]
    message: InboundMessage | None = None
    """Set where it is to be published."""
    content_digest: str = ""

    @property
    def was_published(self) -> bool:
        """Whether it is answered, this very mail or the one that it is a copy of."""
        return self.outcome in {"publish", "duplicate"}


class Intake:
    """Decides about the mails of one account."""

    def __init__(
        self,
        account: MailAccountSettings,
        settings: EmailSettings,
        store: Store,
        parser: MailParser,
        quarantine: Quarantine,
        notices: Notices,
        reader: AttachmentReader | None,
    ) -> None:
        self._account = account
        self._settings = settings
        self._store = store
        self._parser = parser
        self._quarantine = quarantine
        self._notices = notices
        self._reader = reader
        self._brakes = Brakes(settings, store)
        self._threads = Threads(store, account.address.lower())
        self._no_answers = NoAnswers(store, account.address.lower())
        self._job = ParseJob(
            addresses=(account.address, *account.aliases),
            own=tuple(other.address for other in settings.accounts),
            authserv_id=account.authserv_id,
            answer_copies=settings.answer_copies,
            reads_files=reader is not None,
        )

    async def decide(self, raw: bytes, *, source: str, arrived_at: datetime) -> Decision:
        """Decide about one mail; deciding again after a failure changes nothing.

        Raises: BusError: nothing was decided, ask again later.
        """
        try:
            mail = await self._parser.parse(raw, self._job)
        except MailUnreadable as error:
            return await self.put_aside(source, str(error), raw)
        if mail.suspicious:
            return await self.put_aside(source, mail.suspicious, raw)
        if mail.report is not None:
            await self._record(mail.report)
        key = external_key(self._account.address.lower(), mail)
        thread = await self._threads.find(mail, fallback_root=key)
        if why := self._refusal(mail, arrived_at) or await self._said_by_mail(mail, thread):
            return self._leave(source, why)
        seen = await self._store.get(_seen_key(key))
        if seen == mail.content_digest:
            return self._leave(source, "duplicate", outcome="duplicate")
        if seen is not None and seen != _PENDING + mail.content_digest:
            return await self.put_aside(source, "two mails with the same Message-ID", raw)
        if why := await self._brakes.verdict(key, mail, thread, arrived_at):
            if why in SENDER_LIMITS:
                await self._notices.not_answered(mail, thread)
            return self._leave(source, why)
        # Before it is published: the mails decided about next may continue this thread, or claim its Message-ID.
        await self._threads.remember(mail.message_id, thread)
        await self._store.set(_seen_key(key), _PENDING + mail.content_digest, SEEN_S)
        message = self._message(mail, key, thread, await self._attachments(mail))
        return Decision(source=source, outcome="publish", message=message, content_digest=mail.content_digest)

    async def publish(self, decision: Decision, publish: Publish) -> float:
        """Publish a mail that is to be.

        Returns: estimated seconds until it is taken up.
        Raises: BusError: it is not published, try again later.
        """
        message = decision.message
        assert message is not None
        accepted = await publish(message)
        if accepted.lane_full:
            # Mail can wait: it stays where it is and is offered again.
            raise BusFull(LANE_FULL_RETRY_S)
        await self._store.set(_seen_key(message.external_key), decision.content_digest, SEEN_S)
        log.info("mail_published", source=decision.source, conversation=message.conversation)
        return accepted.wait_s

    async def put_aside(self, source: str, why: str, raw: bytes) -> Decision:
        """Quarantine a mail; its sender hears nothing."""
        await self._quarantine(source, why, raw)
        log.warning("mail_quarantined", source=source, reason=why)
        return Decision(source=source, outcome="quarantined")

    def _leave(self, source: str, why: str, outcome: Literal["ignored", "duplicate"] = "ignored") -> Decision:
        log.info("mail_ignored", source=source, reason=why)
        return Decision(source=source, outcome=outcome)

    async def _said_by_mail(self, mail: ParsedMail, thread: Thread) -> str:
        """Return why the mail itself, or its sender, wants no answer; an order is carried out."""
        if mail.automatic == "encrypted":
            await self._notices.unreadable(mail, thread)
        # STOP as a subject needs no text.
        order: Order = order_of(mail) if mail.automatic in {"", "empty"} else ""
        if mail.automatic and not order:
            return mail.automatic
        if order and mail.dmarc != "pass" and not thread.is_continued:
            # Anybody could have written it, and would silence somebody else.
            return "order_not_proven"
        is_listed = await self._no_answers.holds(mail.sender)
        if order == "stop" and not is_listed:
            await self._notices.confirm("stopped", mail, thread)
            await self._no_answers.add(mail.sender)
            return "stop"
        if order == "start" and is_listed:
            await self._notices.confirm("started", mail, thread)
            await self._no_answers.remove(mail.sender)
            return "start"
        return "wants_no_answers" if is_listed else mail.automatic

    async def _record(self, report: DeliveryReport) -> None:
        """Keep what became of a reply; anybody can write a report, but only about mail that was sent."""
        thread = await self._threads.of(report.message_id)
        if thread is None:
            return
        await self._store.set(bounce_key(report.message_id), report.model_dump_json(), SEEN_S)
        log.warning(
            "reply_bounced",
            message_id=report.message_id,
            conversation=thread.conversation,
            kind=report.kind,
            status=report.status,
        )

    def _refusal(self, mail: ParsedMail, arrived_at: datetime) -> str:
        if is_own_message_id(mail.message_id, self._job.own):
            return "own_message"
        # A Date in the future or before e-mail tells nothing; a mailbox that was moved has fresh arrival times.
        sent_at = mail.date if mail.date and mail.date.year >= 1990 and mail.date < arrived_at else arrived_at
        return "too_old" if utc_now() - sent_at > timedelta(days=self._settings.max_age_days) else ""

    async def _attachments(self, mail: ParsedMail) -> tuple[Attachment, ...]:
        deadline = asyncio.get_running_loop().time() + FILES_S
        return tuple([await self._read(file, deadline) for file in mail.attachments])

    async def _read(self, file: AttachedFile, deadline: float) -> Attachment:
        problem: Literal["", "too_large", "unreachable"] = file.problem
        if self._reader is not None and not file.text and not problem:
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._reader.read(file.name, file.media_type, file.data)
            except TimeoutError:
                # Others wait behind this mail.
                problem = "too_large"
        return Attachment(
            name=file.name,
            media_type=file.media_type,
            size_bytes=file.size_bytes,
            text=file.text,
            problem=problem,
        )

    def _message(
        self, mail: ParsedMail, key: str, thread: Thread, attachments: tuple[Attachment, ...]
    ) -> InboundMessage:
        language, is_verified = language_of_mail(mail), mail.dmarc == "pass"
        return InboundMessage(
            external_key=key,
            conversation=thread.conversation,
            address=Address(
                connector="email",
                account=self._account.address.lower(),
                chat=reply_address(mail, self._job.own),
                thread=thread.root,
                # From proves nothing: what is learnt from somebody unknown stays in the thread.
                person=f"mailto:{canonical_address(mail.sender)}" if is_verified else thread.conversation,
                is_verified=is_verified,
            ),
            text=mail.text,
            quoted=mail.quoted,
            attachments=attachments,
            language=language,
            reply={
                "to": reply_address(mail, self._job.own),
                "name": mail.sender_name,
                "language": language,
                "participant": thread.participant,
                "subject": mail.subject,
                "message_id": mail.message_id,
                "references": " ".join(mail.references or mail.in_reply_to[:1]),
                "date": format_datetime(mail.date) if mail.date else "",
            },
        )


def bounce_key(message_id: str) -> str:
    """Name what is kept of a report about a mail of ours."""
    return f"email:bounce:{digest(message_id)}"


def _seen_key(key: str) -> str:
    return f"email:seen:{digest(key)}"


def reply_address(mail: ParsedMail, own: tuple[str, ...]) -> str:
    """Return where the reply goes: Reply-To only where it cannot be used to make us write to somebody else."""
    ours = {canonical_address(address) for address in own}
    wanted = [address for address in mail.reply_to if canonical_address(address) not in ours]
    domain = mail.sender.rpartition("@")[2]
    same_domain = next((address for address in wanted if address.rpartition("@")[2] == domain), "")
    if same_domain:
        return same_domain
    return wanted[0] if len(wanted) == 1 and mail.dmarc == "pass" else mail.sender
