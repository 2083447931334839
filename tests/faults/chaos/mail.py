"""The far side of a run's mailbox: a program that answers every mail and hides that it is one, so that only a cap ends it."""

import asyncio
import email
import email.policy
import functools
import logging
from email.message import EmailMessage
from typing import Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tests.faults.chaos.edges import TAG, Tags
from tests.faults.chaos.mailbox import HUB, MACHINE
from tests.servers.imap_script import ScriptedImap

AT_FIRST = 3
"""Mails that it writes of its own accord; each answer makes it write two more."""


class MailProgram:
    """Its own mail server and the hubs' mailbox."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags
        self._imap = ScriptedImap()
        self._first = ""
        self.imap_port = self.smtp_port = 0

    async def __aenter__(self) -> Self:
        # aiosmtpd warns of its own attribute at every login.
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        await self._imap.__aenter__()
        answer = functools.partial(
            SMTP, self, hostname="127.0.0.1", auth_require_tls=False, authenticator=_let_in
        )
        self._smtp = await asyncio.get_running_loop().create_server(answer, "127.0.0.1", 0)
        self.imap_port, self.smtp_port = self._imap.port, self._smtp.sockets[0].getsockname()[1]
        for _ in range(AT_FIRST):
            self._write()
        self._write("Auto-Submitted: auto-replied\r\n")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._smtp.close()
        await self._smtp.wait_closed()
        await self._imap.__aexit__()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Take a mail of the hub, and answer it twice."""
        assert isinstance(envelope.content, bytes)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        plain = mail.get_body(("plain",))
        assert plain is not None
        text = str(plain.get_content())
        found = TAG.search(text)
        self._tags.received("email", MACHINE, MACHINE, text, tag=found[0] if found else "", kind="answer")
        self._write()
        self._write()
        return "250 OK"

    def _write(self, head: str = "") -> None:
        """Put a mail into the hubs' mailbox; all belong to one thread."""
        tag = self._tags.say(f"email {MACHINE}", MACHINE, automatic=bool(head))
        if self._first:
            head += f"In-Reply-To: {self._first}\r\n"
        self._first = self._first or f"<{tag}@example.net>"
        head += f"From: {MACHINE}\r\nTo: {HUB}\r\nSubject: Hi\r\nMessage-ID: <{tag}@example.net>\r\n"
        self._imap.deliver(f"{head}\r\nsay {tag}\r\n".encode())


def _let_in(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
    return AuthResult(success=True)
