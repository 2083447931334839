"""The hubs' mailbox in a run, and who writes to it."""

from hub.email_settings import EmailSettings
from tests.servers.accounts import mail_account

HUB, MACHINE = "hub@example.org", "machine@example.net"
CAP = 4
"""Answers to the program, whatever it writes."""


def mail_settings(imap_port: int, smtp_port: int) -> EmailSettings:
    """Return the settings of the hubs' mailbox."""
    values = {
        "accounts": [mail_account(HUB, imap_port=imap_port, smtp_port=smtp_port)],
        "poll_s": 1.0,
        "command_timeout_s": 5.0,
        # The date that the mailbox gives for every mail is a fixed one.
        "max_age_days": 100_000,
        "replies_per_sender_10min": 1000,
        "replies_per_sender_day": 1000,
        "replies_per_thread": CAP,
    }
    return EmailSettings.model_validate(values)
