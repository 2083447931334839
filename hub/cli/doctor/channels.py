"""Telegram and the mailboxes: whether they can be reached, and what their servers say."""

import asyncio
from ipaddress import ip_address
from typing import Literal

from hub.cli.doctor.finding import Finding, fail, warn
from hub.email_settings import MailAccountSettings
from hub.errors import ConnectorError, SettingsError
from hub.settings import Settings


async def look_at_telegram(settings: Settings) -> list[Finding]:
    """Ask Telegram who the bot is, and how its webhook does."""
    from aiogram.methods import GetMe, GetWebhookInfo  # noqa: PLC0415

    from connectors.telegram.client import Client, TokenRefused  # noqa: PLC0415
    from connectors.telegram.diagnosis import diagnose  # noqa: PLC0415

    token = settings.telegram.token.get_secret_value()
    if not token:
        advice = "Set HUBBUB_TELEGRAM__TOKEN to the token that @BotFather gave you."
        return [Finding(part="telegram", state="off", text="no token", advice=advice)]
    insecure = _insecure_webhook(settings)
    client: Client | None = None
    try:
        client = Client(token, settings.telegram.api_base)
        bot = await client.call(GetMe())
        hook = await client.call(GetWebhookInfo())
    except (SettingsError, TokenRefused) as error:
        advice = "The token is wrong or was revoked: ask @BotFather for it (/mybots) and set HUBBUB_TELEGRAM__TOKEN."
        return [*insecure, fail("telegram", f"it cannot be used: {error}", advice)]
    except ConnectorError as error:
        advice = "Check that this machine reaches `telegram.api_base`, such as with `curl https://api.telegram.org`."
        return [*insecure, fail("telegram", f"it cannot be used: {error}", advice)]
    finally:
        if client is not None:
            await client.close()
    found = diagnose(bot, hook, public_url=settings.api.public_url)
    state: Literal["ok", "warn"] = "ok" if found.is_well else "warn"
    return [Finding(part="telegram", state=state, text=found.text, advice=found.advice), *insecure]


def _insecure_webhook(settings: Settings) -> list[Finding]:
    url = settings.api.public_url
    if not url or url.startswith("https://"):
        return []
    return [
        warn(
            "telegram webhook",
            "api.public_url is not https, and Telegram calls no other address: the bot polls",
            'Set `public_url = "https://..."` in the table [api], behind a proxy with TLS; docs/deployment.md shows one.',
        )
    ]


async def look_at_email(settings: Settings) -> list[Finding]:
    """Log in to the servers of every mailbox, all at once."""
    accounts = settings.email.accounts
    if not accounts:
        advice = "Add a table [[email.accounts]] to settings.toml; docs/email.md shows one."
        return [Finding(part="email", state="off", text="no mailbox", advice=advice)]
    found = await asyncio.gather(*(_mailbox(account, settings) for account in accounts))
    return [*found, *(finding for account in accounts for finding in _in_the_clear(account))]


async def _mailbox(account: MailAccountSettings, settings: Settings) -> Finding:
    from connectors.email.account import AccountUnusable, check_account  # noqa: PLC0415

    part = f"email {account.address}"
    try:
        report = await check_account(account, timeout_s=settings.email.command_timeout_s)
    except AccountUnusable as error:
        return Finding(part=part, state="fail", text=str(error), advice=error.advice)
    return Finding(
        part=part,
        state="warn" if report.problems else "ok",
        text="; ".join([report.text, *report.problems]),
        advice=" ".join(report.advice),
    )


def _in_the_clear(account: MailAccountSettings) -> list[Finding]:
    """Find servers to which password and mail go without TLS over a network."""
    servers = (("imap", account.imap_host, account.imap_tls), ("smtp", account.smtp_host, account.smtp_tls))
    return [
        warn(
            f"email {account.address}",
            f"its {kind.upper()} server {host} is spoken to without TLS: password and mail can be read on the way",
            f'Set `{kind}_tls = "tls"` (or "starttls") in its table [[email.accounts]].',
        )
        for kind, host, tls in servers
        if tls == "none" and not is_this_machine(host)
    ]


def is_this_machine(host: str) -> bool:
    """Tell whether an address leads to nowhere else."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") in ("localhost", "localhost.localdomain")
