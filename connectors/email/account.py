"""A look at one account: can it be read, can it send, and what its settings leave out."""

import email
from dataclasses import dataclass

import aiosmtplib

from connectors.email.authentication import authserv_id_of
from connectors.email.connector import tls_context
from connectors.email.imap import CommandRefused, Folder, ImapClient, MailboxUnreachable
from connectors.email.smtp import smtp_client
from hub.email_settings import MailAccountSettings
from hub.errors import ConnectorError

MAX_BYTES = 1 << 20
MAX_NAMED_FOLDERS = 12

_WRONG_LOGIN = "Check username and password. Many providers want an app password, and IMAP to be turned on."
_CAUSES = (
    ("gaierror", "There is no such server: check {kind}_host."),
    ("Name or service not known", "There is no such server: check {kind}_host."),
    ("CERTIFICATE_VERIFY", "The certificate is not trusted: name the server as its certificate does, or set ca_file."),
    ("Connect call failed", "Nothing answers there: check {kind}_host and {kind}_port."),
    ("ConnectionRefused", "Nothing answers there: check {kind}_host and {kind}_port."),
    ("refused STARTTLS", 'Set {kind}_tls = "tls" with the port for it.'),
    ("SSL", '{kind}_tls and {kind}_port do not fit: "tls" is for 993 and 465, "starttls" for 143 and 587.'),
    ("Timeout", "No answer in time: check {kind}_host, {kind}_port and {kind}_tls, and firewalls between."),
    ("LOGIN", _WRONG_LOGIN),
    ("Authentication", _WRONG_LOGIN),
    ("Sender", "The server does not let this login send from this address: check address and username."),
)  # fmt: skip


class AccountUnusable(ConnectorError):
    """One of the servers cannot be used; `advice` says what to do."""

    def __init__(self, kind: str, reason: str, advice: str = "") -> None:
        super().__init__(f"the {kind.upper()} server cannot be used: {reason}")
        cause = next((text for word, text in _CAUSES if word in reason), "")
        self.advice = advice or cause.format(kind=kind) or f"Check the {kind}_ settings of this account."


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountReport:
    """What a look at an account found."""

    text: str
    problems: tuple[str, ...] = ()
    """What will not work as it is set."""
    advice: tuple[str, ...] = ()
    """What to do about the problems, and what would make it better."""


async def check_account(account: MailAccountSettings, *, timeout_s: float) -> AccountReport:
    """Log in to both servers, change nothing, and say what was found.

    Raises: AccountUnusable: one of them cannot be used.
    """
    report = await _check_imap(account, timeout_s)
    await _check_smtp(account, timeout_s)
    return report


async def _check_imap(account: MailAccountSettings, timeout_s: float) -> AccountReport:
    client = ImapClient(account, tls_context(account), timeout_s=timeout_s, max_bytes=MAX_BYTES)
    try:
        await client.open()
        folder = await _select(client, account)
        how = "tells of new mail by itself (IDLE)" if client.has_idle else "is asked for new mail (no IDLE)"
        text = f"{account.folder} {how}; the SMTP server accepts the login"
        found = [
            await _done(client, folder, account),
            await _sent(client, account),
            await _trust(client, account),
        ]
    except MailboxUnreachable as error:
        raise AccountUnusable("imap", str(error)) from error
    finally:
        await client.close()
    return AccountReport(
        text=text,
        problems=tuple(problem for problem, _ in found if problem),
        advice=tuple(advice for _, advice in found if advice),
    )


async def _select(client: ImapClient, account: MailAccountSettings) -> Folder:
    try:
        return await client.select(account.folder)
    except CommandRefused as error:
        there = sorted((folder.name for folder in await client.folders("%")), key=_inbox_first)
        names = ", ".join(there[:MAX_NAMED_FOLDERS])
        raise AccountUnusable("imap", str(error), f"Set folder to one that is there: {names}.") from error


def _inbox_first(name: str) -> tuple[bool, str]:
    return name.upper() != "INBOX", name


async def _done(client: ImapClient, folder: Folder, account: MailAccountSettings) -> tuple[str, str]:
    """Look how mail that is dealt with can be told; return (problem, advice)."""
    if account.done == "move" and not client.can_move:
        return "it can move no mail", 'Set done = "keyword": the server has neither MOVE nor UIDPLUS.'
    if account.done == "keyword" and not folder.keeps_keyword:
        if not client.can_move:
            return "", "The server keeps no keywords: mail that is dealt with looks like any other."
        return "", 'The server keeps no keywords: done = "move" shows which mail is dealt with.'
    return "", ""


async def _sent(client: ImapClient, account: MailAccountSettings) -> tuple[str, str]:
    """Look where a reply could be found again after a lost connection; return (problem, advice)."""
    named = await client.sent_folder()
    if account.sent_folder:
        if await client.folders(account.sent_folder):
            return "", ""
        there = f"set it to {named}, or create" if named else "create"
        return f"there is no folder {account.sent_folder}", f"sent_folder: {there} the folder."
    if named or account.self_copy:
        return "", ""
    return "", "Set sent_folder or self_copy, so that a reply can be found again when a connection is lost."


async def _trust(client: ImapClient, account: MailAccountSettings) -> tuple[str, str]:
    """Look at the newest mail for the name the server writes into its verdicts; return (problem, advice)."""
    await client.select(account.folder)
    newest = await client.uids("UID", "*")
    raw = await client.raw(newest[-1]) if newest else None
    head = (raw or b"").replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    found = authserv_id_of(email.message_from_bytes(head + b"\n\n"))
    wanted = account.authserv_id
    if wanted and found and found.lower() != wanted.lower():
        return (
            f"authserv_id is {wanted}, the newest mail has {found}",
            f'Set authserv_id = "{found}" if that is your server.',
        )
    if wanted and raw is not None and not found:
        return "", "The newest mail has no Authentication-Results: no sender of such mail is taken for known."
    if found and not wanted:
        return (
            "",
            f'Set authserv_id = "{found}", if that is your mail server, to know verified senders again.',
        )
    return "", ""


async def _check_smtp(account: MailAccountSettings, timeout_s: float) -> None:
    smtp = smtp_client(account, tls_context(account), timeout_s=timeout_s)
    try:
        await smtp.connect()
        # Only then are the server's extensions known.
        await smtp.ehlo()
        if smtp.supports_extension("auth"):
            await smtp.login(account.username or account.address, account.password.get_secret_value())
        await smtp.mail(account.address)
        await smtp.rset()
        await smtp.quit()
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        raise AccountUnusable("smtp", f"{type(error).__name__}: {error}"[:200]) from error
    finally:
        smtp.close()
