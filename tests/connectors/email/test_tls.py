"""Connections that are secured: from the first byte, by STARTTLS, and not at all when the certificate is wrong."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from connectors.email.connector import tls_context
from connectors.email.imap import ImapClient, MailboxUnreachable
from connectors.email.imap_wire import listed_folders, mailbox_name
from hub.email_settings import MailAccountSettings
from hub.errors import SettingsError
from tests.connectors.email.edges import account
from tests.servers.dovecot import Dovecot

HUB = "hub@example.org"


def _account(dovecot: Dovecot, way: str) -> MailAccountSettings:
    port = dovecot.tls_port if way == "tls" else dovecot.port
    return account(HUB, port, imap_tls=way, imap_host="localhost", ca_file=str(dovecot.ca_file))


def _client(settings: MailAccountSettings) -> ImapClient:
    return ImapClient(settings, tls_context(settings), timeout_s=5, max_bytes=100_000)


@pytest.mark.parametrize("way", ["tls", "starttls"])
async def test_mailbox_is_read_over_a_secured_connection(dovecot: Dovecot, way: str) -> None:
    """Both ways lead into the mailbox, and idle there."""
    dovecot.deliver("jane@example.net", [HUB], b"Subject: Q\r\n\r\n" + b"How?\r\n" * 10_000)
    client = _client(_account(dovecot, way))
    try:
        await client.open()
        await client.select("INBOX")
        raw = await client.raw(1)
        await client.idle(0.1)

        assert raw is not None
        assert raw.count(b"How?") == 10_000
        assert await client.uids("ALL") == [1]
    finally:
        await client.close()


@pytest.mark.parametrize("way", ["tls", "starttls"])
async def test_unknown_certificate_is_refused(dovecot: Dovecot, way: str) -> None:
    """The password is not shown to a server that cannot prove its name."""
    client = _client(_account(dovecot, way).model_copy(update={"ca_file": ""}))
    logins = dovecot.log().count("Login: user=")

    with pytest.raises(MailboxUnreachable, match="SSLCertVerificationError"):
        await client.open()
    await client.close()

    assert dovecot.log().count("Login: user=") == logins


async def test_wrong_password_is_told(dovecot: Dovecot) -> None:
    """The reason names the command, never the password."""
    client = _client(_account(dovecot, "tls").model_copy(update={"password": SecretStr("not this")}))

    with pytest.raises(MailboxUnreachable, match="LOGIN") as error:
        await client.open()
    await client.close()

    assert "not this" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("INBOX", '"INBOX"'), ("Envoyés", '"Envoy&AOk-s"'), ("A & B", '"A &- B"'), ('a"b\\', '"a\\"b\\\\"'), ("台北", '"&U,BTFw-"')],
)  # fmt: skip
def test_folder_names_go_over_the_wire_as_the_standard_wants(name: str, expected: str) -> None:
    """Source: RFC 3501 section 5.1.3."""
    assert mailbox_name(name) == expected


@pytest.mark.parametrize(
    ("line", "name", "attributes"),
    [
        (rb'(\HasNoChildren \Sent) "/" "Sent"', "Sent", {"\\hasnochildren", "\\sent"}),
        (rb'() "." INBOX.Envoy&AOk-s', "INBOX.Envoyés", set()),
        (rb'(\Noselect) "/" "A &- \"B\""', 'A & "B"', {"\\noselect"}),
        (rb'() NIL "&U,BTFw-"', "台北", set()),
        (rb'() "/" "&b-"', "&b-", set()),
    ],
)
def test_listed_folders_are_read(line: bytes, name: str, attributes: set[str]) -> None:
    """Names in quotes or not, in modified UTF-7; what is no such line is passed over."""
    (folder,) = listed_folders([line, b"nonsense", b"{12}"])

    assert (folder.name, set(folder.attributes)) == (name, attributes)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificate_authority_that_cannot_be_read_is_a_wrong_setting(
    tmp_path: Path, content: str | None
) -> None:
    """The hub says at its start which file it is."""
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)

    with pytest.raises(SettingsError, match=r"ca_file .*ca\.pem of hub@example\.org cannot be read"):
        tls_context(account(HUB, 993, ca_file=str(file)))
