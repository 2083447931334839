"""Settings of mailboxes on the private servers."""

from typing import Any

PASSWORD = "secret"


def mail_account(address: str, *, imap_port: int, smtp_port: int) -> dict[str, Any]:
    """Return the settings of a mailbox whose servers listen on this machine, without TLS."""
    return {
        "address": address,
        "password": PASSWORD,
        "imap_host": "127.0.0.1",
        "imap_port": imap_port,
        "imap_tls": "none",
        "smtp_host": "127.0.0.1",
        "smtp_port": smtp_port,
        "smtp_tls": "none",
    }
