"""The e-mail connector: mailboxes on one side, replies on the other."""

import asyncio
import ssl

import structlog

from connectors.base import AttachmentReader, Progress, Publish
from connectors.email import smtp
from connectors.email.compose import OutgoingMail, compose
from connectors.email.imap import ImapClient, MailboxUnreachable
from connectors.email.intake import Intake
from connectors.email.mailbox import Mailbox
from connectors.email.no_answers import NoAnswers
from connectors.email.notices import Notices
from connectors.email.outbox import Outbox, Quarantine
from connectors.email.parser import MailParser
from connectors.email.state import digest
from connectors.email.threads import Thread, Threads
from connectors.store import Store
from hub.email_settings import EmailSettings, MailAccountSettings
from hub.errors import DeliveryRefused, RetryLater, SettingsError
from hub.messages import OutboundMessage

log = structlog.get_logger(__name__)

MAX_LOOKUPS = 10
"""Attempts to look for an unclear reply in the mailbox before it is simply sent again."""


class EmailConnector:
    """A channel of one or more mailboxes.

    Args:
        reader: turns attached files into text; without one they are known by name only.
    """

    name = "email"

    def __init__(
        self,
        settings: EmailSettings,
        store: Store,
        quarantine: Quarantine,
        reader: AttachmentReader | None = None,
    ) -> None:
        self._reader = reader
        self._settings = settings
        self._store = store
        self._quarantine = quarantine
        self._accounts = {account.address.lower(): account for account in settings.accounts}
        self._outbox = Outbox(store, self.send, give_up_s=settings.give_up_s, quarantine=quarantine)
        self._tls = {address: tls_context(account) for address, account in self._accounts.items()}

    async def run(self, publish: Publish) -> None:
        """Watch all mailboxes until cancelled."""
        parsers = {address: MailParser() for address in self._accounts}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._outbox.run(), name="mail outbox")
                for address, account in self._accounts.items():
                    mailbox = self._mailbox(account, parsers[address])
                    tasks.create_task(mailbox.run(publish), name=f"mailbox {address}")
        finally:
            for parser in parsers.values():
                await parser.close()

    def _mailbox(self, account: MailAccountSettings, parser: MailParser) -> Mailbox:
        notices = Notices(account, self._store, self._outbox)
        intake = Intake(account, self._settings, self._store, parser, self._quarantine, notices, self._reader)
        return Mailbox(account, self._settings, self._store, intake, self._tls[account.address.lower()])

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Send one reply, and find out first whether an earlier attempt has already arrived."""
        if message.kind == "cancelled":
            return
        account = self._accounts.get(message.address.account.lower())
        if account is None:
            raise DeliveryRefused(f"there is no mail account {message.address.account}")
        if 0 in progress.placed_parts:
            return
        if await self._is_unwanted(message, account):
            raise DeliveryRefused("the person has asked for no more answers")
        mail = compose(message, account)
        if not await self._arrived_before(account, mail, progress):
            await self._send(account, message, mail, progress)
        await progress.placed(0, mail.message_id)
        log.info("mail_sent", reply_id=message.reply_id, kind=message.kind)
        if account.sent_folder:
            await self._keep_copy(account, mail)

    async def _is_unwanted(self, message: OutboundMessage, account: MailAccountSettings) -> bool:
        """Tell whether STOP came after the question; its confirmation is the last mail."""
        participant = message.reply.get("participant", "")
        if not participant or message.reply.get("notice") == "stopped":
            return False
        return await NoAnswers(self._store, account.address.lower()).holds(participant)

    async def _send(
        self, account: MailAccountSettings, message: OutboundMessage, mail: OutgoingMail, progress: Progress
    ) -> None:
        address = account.address.lower()
        participant = message.reply.get("participant", "")
        thread = Thread(account=address, root=message.address.thread, participant=participant)
        # Before the mail leaves: the answer to it may come at once.
        await Threads(self._store, address).remember(mail.message_id, thread)
        recipients = [mail.recipient, account.address] if account.self_copy else [mail.recipient]
        await smtp.send(
            account,
            self._tls[address],
            mail.raw,
            recipients,
            timeout_s=self._settings.command_timeout_s,
            before_data=lambda: progress.begin(0),
        )

    async def _arrived_before(
        self, account: MailAccountSettings, mail: OutgoingMail, progress: Progress
    ) -> bool:
        """Tell whether an attempt that was never confirmed did reach the mailbox's own folders."""
        if progress.unclear_part is None:
            return False
        try:
            found = await self._is_kept(account, mail.message_id)
        except MailboxUnreachable as error:
            lookups = await self._store.increment(
                f"email:lookups:{digest(mail.message_id)}", self._settings.give_up_s
            )
            if lookups < MAX_LOOKUPS:
                raise RetryLater(smtp.RETRY_S, "whether the reply was sent cannot be looked up") from error
            found = False
        # Where nothing tells, the same Message-ID lets the reader's server and program show it once.
        log.warning("unclear_mail_looked_up", message_id=mail.message_id, was_sent=found)
        return found

    async def _is_kept(self, account: MailAccountSettings, message_id: str) -> bool:
        client = self._imap(account)
        try:
            await client.open()
            # Many providers keep sent mail by themselves, in a folder that the server can name.
            sent = account.sent_folder or await client.sent_folder()
            for folder in dict.fromkeys((sent, account.folder)):
                if folder and await client.has_message(folder, message_id):
                    return True
            return False
        finally:
            await client.close()

    async def _keep_copy(self, account: MailAccountSettings, mail: OutgoingMail) -> None:
        """Put a copy into the sent folder, unless the provider did; a failure never harms the reply."""
        client = self._imap(account)
        try:
            await client.open()
            if not await client.has_message(account.sent_folder, mail.message_id):
                await client.append(account.sent_folder, mail.raw)
        except MailboxUnreachable as error:
            log.warning("sent_copy_failed", mailbox=account.address, reason=str(error))
        finally:
            await client.close()

    def _imap(self, account: MailAccountSettings) -> ImapClient:
        return ImapClient(
            account,
            self._tls[account.address.lower()],
            timeout_s=self._settings.command_timeout_s,
            max_bytes=self._settings.max_mail_bytes,
        )


def tls_context(account: MailAccountSettings) -> ssl.SSLContext:
    """Return how connections of this account are secured and its servers' certificates checked.

    Raises: SettingsError: the account's own certificate authority cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=account.ca_file or None)
    except OSError as error:
        raise SettingsError(
            f"email.accounts: ca_file {account.ca_file} of {account.address} cannot be read: {error.strerror}"
        ) from error
