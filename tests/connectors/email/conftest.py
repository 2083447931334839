"""Servers for the e-mail connector's tests."""

from collections.abc import Iterator

import pytest

from tests.servers import dovecot as dovecot_server
from tests.servers import smtp as smtp_server
from tests.servers.dovecot import Dovecot
from tests.servers.smtp import SmtpServer


@pytest.fixture
def dovecot() -> Iterator[Dovecot]:
    """Return a fresh Dovecot for the hub, a second hub and two people."""
    users = ("hub@example.org", "other@example.org", "jane@example.net", "mallory@example.net")
    with dovecot_server.running(*users) as server:
        yield server


@pytest.fixture
def smtp(dovecot: Dovecot) -> Iterator[SmtpServer]:
    """Return an SMTP server that delivers to `dovecot`."""
    with smtp_server.running(dovecot) as server:
        yield server
