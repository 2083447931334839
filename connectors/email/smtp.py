"""One mail to the account's SMTP server, step by step, so that it is known what a failure means."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Sequence

import aiosmtplib

from hub.email_settings import MailAccountSettings
from hub.errors import DeliveryRefused, RetryLater

RETRY_S = 30.0
RETRY_AFTER_LOGIN_S = 300.0
_LOGIN_CODES = frozenset({530, 534, 535, 538})


def smtp_client(account: MailAccountSettings, tls: ssl.SSLContext, *, timeout_s: float) -> aiosmtplib.SMTP:
    """Make a client of an account's SMTP server; it is not connected yet."""
    return aiosmtplib.SMTP(
        hostname=account.smtp_host,
        port=account.smtp_port,
        timeout=timeout_s,
        use_tls=account.smtp_tls == "tls",
        start_tls=account.smtp_tls == "starttls",
        tls_context=tls if account.smtp_tls != "none" else None,
        # Else the name of this machine is looked up, which can block.
        local_hostname=account.address.rpartition("@")[2],
    )


async def send(
    account: MailAccountSettings,
    tls: ssl.SSLContext,
    raw: bytes,
    recipients: Sequence[str],
    *,
    timeout_s: float,
    before_data: Callable[[], Awaitable[None]],
) -> None:
    """Hand a mail over; return once the server has taken responsibility for it.

    Args:
        recipients: the first must be accepted, the others may be refused.
        before_data: awaited right before the mail itself leaves.

    Raises:
        RetryLater: a later attempt may succeed; `unclear` when the connection broke while the server held the
            whole mail, which it may or may not have accepted (RFC 1047).
        DeliveryRefused: the server refuses this mail for good.
    """
    client = smtp_client(account, tls, timeout_s=timeout_s)
    try:
        await _prepare(client, account, recipients, timeout_s)
        await before_data()
        await _transmit(client, raw, timeout_s)
        with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
            async with asyncio.timeout(2):
                await client.quit()
    finally:
        client.close()


async def _prepare(
    client: aiosmtplib.SMTP, account: MailAccountSettings, recipients: Sequence[str], timeout_s: float
) -> None:
    try:
        async with asyncio.timeout(timeout_s * 2):
            await client.connect()
            # Only then are the server's extensions known.
            await client.ehlo()
            password = account.password.get_secret_value()
            if password and client.supports_extension("auth"):
                await client.login(account.username or account.address, password)
            await client.mail(account.address)
            await client.rcpt(recipients[0])
            for other in recipients[1:]:
                with contextlib.suppress(aiosmtplib.SMTPResponseException):
                    await client.rcpt(other)
    except (aiosmtplib.SMTPAuthenticationError, aiosmtplib.SMTPNotSupported) as error:
        raise RetryLater(RETRY_AFTER_LOGIN_S, "the mail server does not accept the login") from error
    except aiosmtplib.SMTPHeloError as error:
        raise RetryLater(RETRY_S, f"the mail server answered {error.code} to the greeting") from error
    except aiosmtplib.SMTPConnectResponseError as error:
        raise RetryLater(RETRY_S, f"the mail server answered {error.code}") from error
    except aiosmtplib.SMTPResponseException as error:
        raise _refusal(error) from error
    except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
        raise RetryLater(RETRY_S, f"the mail server cannot be reached: {type(error).__name__}") from error


async def _transmit(client: aiosmtplib.SMTP, raw: bytes, timeout_s: float) -> None:
    try:
        # A server may search a mail for malware before it answers.
        async with asyncio.timeout(timeout_s * 4):
            await client.data(raw, timeout=timeout_s * 4)
    except aiosmtplib.SMTPResponseException as error:
        raise _refusal(error) from error
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        reason = f"the mail server did not confirm: {type(error).__name__}"
        raise RetryLater(RETRY_S, reason, unclear=True) from error


def _refusal(error: aiosmtplib.SMTPResponseException) -> RetryLater | DeliveryRefused:
    if error.code in _LOGIN_CODES:
        return RetryLater(RETRY_AFTER_LOGIN_S, f"the mail server wants another login ({error.code})")
    if 500 <= error.code < 600:
        return DeliveryRefused(f"the mail server refused with {error.code}")
    # 421 in answer to the mail itself means that it was not accepted, like every other 4xx.
    return RetryLater(RETRY_S, f"the mail server answered {error.code}")
