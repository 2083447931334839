"""A real Dovecot with a private configuration: IMAP on a free loopback port, LMTP on a socket beside its mail."""

import contextlib
import grp
import imaplib
import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.servers.accounts import PASSWORD

_CONFIG = """
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{base}/cert.pem
ssl_key = <{base}/key.pem
disable_plaintext_auth = no
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {login}
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {uid}
mail_gid = {gid}
mail_home = {base}/mail/%u
mail_location = maildir:~/Maildir
postmaster_address = postmaster@example.org
auth_mechanisms = plain login
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {base}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={base}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Sent {{
    auto = subscribe
    special_use = \\Sent
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {tls_port}
    ssl = yes
  }}
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0600
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


class Dovecot:
    """One private server: `host`, `port` for IMAP in the clear or by STARTTLS, `tls_port`, `deliver` for LMTP.

    Its certificate, for `localhost` and 127.0.0.1, is its own authority: `ca_file`.

    Every user's password is `PASSWORD`.
    """

    host = "127.0.0.1"

    def __init__(self, users: Iterable[str], *, capabilities: str = "") -> None:
        self._users = tuple(users)
        self._capabilities = capabilities
        # A unix socket's path may hold 107 characters, which pytest's tmp_path easily passes.
        self._base = Path(tempfile.mkdtemp(prefix="dovecot-"))
        self._base.chmod(0o755)
        self.port = free_port()
        self.tls_port = free_port()
        self.ca_file = self._base / "cert.pem"
        self._lmtp = self._base / "run" / "lmtp"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until a user can log in."""
        (self._base / "users").write_text("".join(f"{user}:{{PLAIN}}{PASSWORD}\n" for user in self._users))
        self._make_certificate()
        # Neither logins nor mail may belong to root; Debian's package brings users for both.
        owner = pwd.getpwnam("dovecot") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        login = "dovenull" if os.getuid() == 0 else owner.pw_name
        (self._base / "mail").mkdir()
        os.chown(self._base / "mail", owner.pw_uid, owner.pw_gid)
        (self._base / "dovecot.conf").write_text(
            _CONFIG.format(
                base=self._base,
                port=self.port,
                tls_port=self.tls_port,
                uid=owner.pw_uid,
                gid=owner.pw_gid,
                user=owner.pw_name,
                group=grp.getgrgid(owner.pw_gid).gr_name,
                login=login,
            )
            + (f"imap_capability = {self._capabilities}\n" if self._capabilities else "")
        )
        binary = shutil.which("dovecot") or "/usr/sbin/dovecot"
        self._process = subprocess.Popen(
            [binary, "-F", "-c", str(self._base / "dovecot.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                with self.client(self._users[0]):
                    return
            except (OSError, imaplib.IMAP4.error):
                if time.monotonic() > deadline or self._process.poll() is not None:
                    text = self.log()[-2000:]
                    self.stop()
                    raise RuntimeError(f"dovecot did not start:\n{text}") from None
                time.sleep(0.05)

    def _make_certificate(self) -> None:
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        files = ["-keyout", str(self._base / "key.pem"), "-out", str(self.ca_file)]
        subprocess.run(
            ["openssl", "req", *options.split(), "-addext", names, *files], check=True, capture_output=True
        )

    def stop(self) -> None:
        """Stop the server and remove its folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._base, ignore_errors=True)

    def log(self) -> str:
        """Return what the server has logged."""
        path = self._base / "dovecot.log"
        return path.read_text() if path.exists() else ""

    @contextlib.contextmanager
    def client(self, user: str, folder: str = "INBOX") -> Iterator[imaplib.IMAP4]:
        """Log in as `user` and select `folder`."""
        client = imaplib.IMAP4(self.host, self.port, timeout=10)
        try:
            client.login(user, PASSWORD)
            client.select(f'"{folder}"')
            yield client
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                client.logout()

    def deliver(self, sender: str, recipients: Iterable[str], raw: bytes) -> None:
        """Hand a mail over by LMTP, as a mail server does."""
        client = smtplib.LMTP(str(self._lmtp))
        try:
            client.sendmail(sender, list(recipients), raw)
        finally:
            client.close()

    def mails(self, user: str, folder: str = "INBOX") -> list[bytes]:
        """Return all mails of a folder, oldest first, without marking any as read."""
        with self.client(user, folder) as client:
            _, found = client.search(None, "ALL")
            numbers = found[0].split()
            return [_literal(client.fetch(number.decode(), "(BODY.PEEK[])")) for number in numbers]

    def flags(self, user: str, folder: str = "INBOX") -> list[str]:
        """Return the flags of each mail of a folder, oldest first."""
        with self.client(user, folder) as client:
            _, found = client.search(None, "ALL")
            return [
                str(client.fetch(number.decode(), "(FLAGS)")[1][0], "ascii")  # type: ignore[arg-type]
                for number in found[0].split()
            ]

    def recreate(self, user: str, folder: str) -> None:
        """Move all mails of `folder` into a new one of the same name, which has another UIDVALIDITY."""
        mails = self.mails(user, folder)
        with self.client(user) as client:
            client.delete(folder)
        # UIDVALIDITY is the time of creation in seconds: wait for the next one to start.
        time.sleep(1.1 - time.time() % 1)
        with self.client(user) as client:
            client.create(folder)
            for raw in mails:
                client.append(folder, "", imaplib.Time2Internaldate(time.time()), raw)


@contextlib.contextmanager
def running(*users: str, capabilities: str = "") -> Iterator[Dovecot]:
    """Run a private Dovecot for these users while the block lasts.

    Args:
        capabilities: all that it says it can do; empty leaves it at what it can.
    """
    server = Dovecot(users, capabilities=capabilities)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _literal(answer: tuple[str, Any]) -> bytes:
    for item in answer[1]:
        if isinstance(item, tuple):
            return bytes(item[1])
    raise AssertionError(f"no literal in {answer!r}")


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
