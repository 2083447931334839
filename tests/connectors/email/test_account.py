"""What the doctor finds out about a mailbox, and what it tells to do."""

from pathlib import Path

import pytest

from connectors.email.account import AccountUnusable, check_account
from hub.cli import doctor
from hub.email_settings import EmailSettings, MailAccountSettings
from hub.settings import Settings
from tests.connectors.email.edges import account
from tests.servers import dovecot as dovecot_server
from tests.servers.dovecot import Dovecot, free_port
from tests.servers.imap_script import ScriptedImap
from tests.servers.smtp import SmtpServer

HUB = "hub@example.org"


def _account(dovecot: Dovecot, smtp: SmtpServer, **more: str | bool | int) -> MailAccountSettings:
    settings = account(HUB, dovecot.port, smtp.port)
    return MailAccountSettings.model_validate(settings.model_dump() | more)


async def test_good_account_is_reported_as_such(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """Both logins work, new mail is told by the server, nothing is left to do, and nothing was changed."""
    dovecot.deliver("jane@example.net", [HUB], b"Subject: Q\r\n\r\nHow?\r\n")

    report = await check_account(_account(dovecot, smtp), timeout_s=5)

    assert "IDLE" in report.text
    assert "accepts the login" in report.text
    assert (report.problems, report.advice) == ((), ())
    assert "\\Seen" not in dovecot.flags(HUB)[0]
    assert smtp.accepted == []


@pytest.mark.parametrize(
    ("more", "kind", "advice"),
    [
        ({"password": "not-this-one"}, "IMAP", "Check username and password"),
        ({"imap_port": "closed"}, "IMAP", "check imap_host and imap_port"),
        ({"imap_host": "no-such-host.invalid"}, "IMAP", "There is no such server: check imap_host"),
        ({"imap_tls": "tls"}, "IMAP", "imap_tls and imap_port do not fit"),
        ({"imap_tls": "starttls"}, "IMAP", "The certificate is not trusted"),
        ({"folder": "Questions"}, "IMAP", "one that is there: INBOX, Sent"),
        ({"smtp_port": "closed"}, "SMTP", "check smtp_host and smtp_port"),
        ({"smtp_tls": "starttls"}, "SMTP", "smtp_"),
    ],
)
async def test_what_does_not_work_is_told_with_its_remedy(
    dovecot: Dovecot, smtp: SmtpServer, more: dict[str, str], kind: str, advice: str
) -> None:
    """Which server it is, what it said, and what to change."""
    changes = {name: free_port() if value == "closed" else value for name, value in more.items()}

    with pytest.raises(AccountUnusable) as error:
        await check_account(_account(dovecot, smtp, **changes), timeout_s=5)

    assert f"the {kind} server cannot be used" in str(error.value)
    assert advice in error.value.advice
    assert "not-this-one" not in str(error.value)


@pytest.mark.parametrize(
    ("newest", "authserv_id", "problem", "advice"),
    [
        ("mx.example.org; dmarc=pass", "", "", 'Set authserv_id = "mx.example.org"'),
        ("mx.example.org; dmarc=pass", "mx.example.org", "", ""),
        ("mx.example.org; dmarc=pass", "mx.example.com", "the newest mail has mx.example.org", "Set authserv_id"),
        ("", "mx.example.org", "", "no Authentication-Results"),
        ("", "", "", ""),
    ],
)  # fmt: skip
async def test_name_in_the_servers_verdicts_is_looked_up(
    dovecot: Dovecot, smtp: SmtpServer, newest: str, authserv_id: str, problem: str, advice: str
) -> None:
    """The operator need not read headers."""
    dovecot.deliver("x@example.net", [HUB], b"Authentication-Results: old.example; dmarc=pass\r\n\r\nOld\r\n")
    head = f"Authentication-Results: {newest}\r\n" if newest else ""
    dovecot.deliver("x@example.net", [HUB], f"{head}Subject: New\r\n\r\nNew\r\n".encode())

    report = await check_account(_account(dovecot, smtp, authserv_id=authserv_id), timeout_s=5)

    assert problem in " ".join(report.problems)
    assert advice in " ".join(report.advice)
    assert (bool(report.problems), bool(report.advice)) == (bool(problem), bool(advice))


async def test_folders_are_looked_at(dovecot: Dovecot, smtp: SmtpServer) -> None:
    """A folder for sent mail that is not there is a problem, and the server's own is named."""
    report = await check_account(_account(dovecot, smtp, sent_folder="Gesendet"), timeout_s=5)

    assert report.problems == ("there is no folder Gesendet",)
    assert "set it to Sent" in report.advice[0]


async def test_server_that_can_do_little_is_told(smtp: SmtpServer) -> None:
    """No MOVE, and a wish to move: the hub would set its keyword instead."""
    with dovecot_server.running(HUB, capabilities="IMAP4rev1 LITERAL+") as dovecot:
        report = await check_account(_account(dovecot, smtp, done="move"), timeout_s=5)

    assert "no IDLE" in report.text
    assert report.problems == ("it can move no mail",)


async def test_server_without_keywords_is_told(smtp: SmtpServer) -> None:
    """What the hub has dealt with would look like any other mail."""
    async with ScriptedImap() as server:
        report = await check_account(account(HUB, server.port, smtp.port), timeout_s=5)

    assert report.problems == ()
    assert "keeps no keywords" in report.advice[0]
    assert "self_copy" in report.advice[1]


async def test_doctor_reports_each_mailbox(
    data: Path, dovecot: Dovecot, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that works, one with a problem, one that cannot be used."""
    good = _account(dovecot, smtp)
    odd = _account(dovecot, smtp, address="other@example.org", sent_folder="Gesendet")
    down = _account(dovecot, smtp, address="down@example.org", imap_port=free_port())
    monkeypatch.setattr(doctor, "CHECKS", {"email": doctor.CHECKS["email"]})
    settings = Settings(_env_file=None, data=data, email=EmailSettings(accounts=(good, odd, down)))

    _, *found = await doctor.find(settings)

    assert [(one.part, one.state) for one in found] == [
        ("email hub@example.org", "ok"),
        ("email other@example.org", "warn"),
        ("email down@example.org", "fail"),
    ]
    assert all(one.advice for one in found[1:])
