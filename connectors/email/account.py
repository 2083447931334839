"""A look at one account: can it be read, can it send."""

import aiosmtplib

from connectors.email.connector import tls_context
from connectors.email.imap import ImapClient
from connectors.email.smtp import smtp_client
from hub.errors import ConnectorError
from hub.settings import MailAccountSettings

MAX_BYTES = 1 << 20


async def check_account(account: MailAccountSettings, *, timeout_s: float) -> str:
    """Log in to both servers, change nothing, and say what was found.

    Raises: ConnectorError: one of them cannot be used.
    """
    tls = tls_context(account)
    imap = ImapClient(account, tls, timeout_s=timeout_s, max_bytes=MAX_BYTES)
    await imap.open()
    try:
        folder = await imap.select(account.folder)
        how = "tells of new mail by itself" if imap.has_idle else "is asked for new mail"
    finally:
        await imap.close()
    smtp = smtp_client(account, tls, timeout_s=timeout_s)
    try:
        await smtp.connect()
        # Only then are the server's extensions known.
        await smtp.ehlo()
        if smtp.supports_extension("auth"):
            await smtp.login(account.username or account.address, account.password.get_secret_value())
        await smtp.quit()
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        raise ConnectorError(f"the SMTP server cannot be used: {type(error).__name__}") from error
    finally:
        smtp.close()
    return f"{account.folder} {how} (UIDVALIDITY {folder.uid_validity}); the SMTP server accepts the login"
