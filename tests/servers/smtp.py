"""A real SMTP server that delivers to a private Dovecot, with faults on command."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tests.servers.accounts import PASSWORD, mail_account
from tests.servers.dovecot import Dovecot, free_port


class SmtpServer:
    """Listens on `host` and `port`; every mail it accepts goes to the Dovecot's users.

    `faults` holds what happens to the next mails, one each: `drop after data` delivers and then cuts the
    connection instead of confirming, `drop before data` cuts without delivering, an SMTP answer such as
    `451 later` is given instead of delivering.
    """

    host = "127.0.0.1"

    def __init__(self, dovecot: Dovecot, *, saves_sent: bool = False) -> None:
        self.faults: deque[str] = deque()
        self.accepted: list[bytes] = []
        """Every mail delivered, as it was received."""
        self.port = free_port()
        self._dovecot = dovecot
        self._saves_sent = saves_sent
        self._controller = self._new_controller()

    def _new_controller(self) -> Controller:
        return Controller(
            self,
            hostname=self.host,
            port=self.port,
            auth_require_tls=False,
            authenticator=_authenticate,
        )

    def start(self) -> None:
        """Start listening."""
        self._controller.start()

    def restart(self) -> None:
        """Listen again after a stop, on the same port."""
        self._controller = self._new_controller()
        self._controller.start()

    def stop(self) -> None:
        """Stop listening; stopping twice is fine."""
        if self._controller.loop.is_running():
            self._controller.stop(no_assert=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Deliver one mail, or do what the next fault says."""
        # aiosmtpd's own `auth_required` warns on every connection without TLS.
        if not session.authenticated:
            return "530 Authentication required"
        fault = self.faults.popleft() if self.faults else ""
        connection: Any = server.transport
        if fault[:1].isdigit():
            return fault
        if fault == "drop before data":
            connection.abort()
            return "250 OK"
        raw = envelope.content or b""
        assert isinstance(raw, bytes)
        self.accepted.append(raw)
        await asyncio.to_thread(self._deliver, str(envelope.mail_from), envelope.rcpt_tos, raw)
        if fault == "drop after data":
            connection.abort()
        return "250 OK"

    def _deliver(self, sender: str, recipients: list[str], raw: bytes) -> None:
        self._dovecot.deliver(sender, recipients, raw)
        if self._saves_sent:
            with self._dovecot.client(sender, "Sent") as client:
                client.append("Sent", "(\\Seen)", "", raw)


def _authenticate(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
) -> AuthResult:
    return AuthResult(success=getattr(data, "password", None) == PASSWORD.encode(), handled=False)


@contextlib.contextmanager
def running(dovecot: Dovecot, *, saves_sent: bool = False) -> Iterator[SmtpServer]:
    """Run an SMTP server in front of `dovecot` while the block lasts."""
    server = SmtpServer(dovecot, saves_sent=saves_sent)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def account_at(address: str, dovecot: Dovecot, smtp: SmtpServer) -> dict[str, Any]:
    """Return the settings of a mailbox on these servers."""
    return mail_account(address, imap_port=dovecot.port, smtp_port=smtp.port)
