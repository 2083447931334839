"""Files that come with mails: which there are, what is handed over of them, and what is not."""

import email.policy
from email.message import EmailMessage
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from connectors.email import files, reading
from connectors.email.mail import ParsedMail, ParseJob
from connectors.email.parser import MailParser
from hub.email_settings import EmailSettings
from tests.connectors.email.edges import Hub, Reader, account
from tests.servers.dovecot import Dovecot

HUB, JANE = "hub@example.org", "jane@example.net"
JOB = ParseJob(addresses=(HUB,), own=(HUB,), reads_files=True)


def _mail(text: str = "What does it say?") -> EmailMessage:
    mail = EmailMessage(policy=email.policy.SMTP)
    mail["From"], mail["To"], mail["Subject"], mail["Message-ID"] = JANE, HUB, "Q", "<q@example.net>"
    mail.set_content(text)
    return mail


def _read(mail: EmailMessage, job: ParseJob = JOB) -> ParsedMail:
    return ParsedMail.model_validate(reading.read(mail.as_bytes(), job))


def test_bytes_of_files_are_handed_over() -> None:
    """Whatever their type, unopened: what they are, their reader finds out."""
    mail = _mail()
    mail.add_attachment(b"%PDF-1.7 \x00\xff", maintype="application", subtype="pdf", filename="a.pdf")
    mail.add_attachment("Grüße\n", filename="notes.txt")

    parsed = _read(mail)

    assert parsed.text == "What does it say?"
    assert [(one.name, one.media_type, one.problem) for one in parsed.attachments] == [
        ("a.pdf", "application/pdf", ""),
        ("notes.txt", "text/plain", ""),
    ]
    assert parsed.attachments[0].data == b"%PDF-1.7 \x00\xff"
    assert parsed.attachments[1].data.decode().strip() == "Grüße"


def test_bytes_stay_out_where_nobody_reads_them() -> None:
    """Names are enough then."""
    mail = _mail()
    mail.add_attachment(b"abc", maintype="application", subtype="pdf", filename="a.pdf")

    (file,) = _read(mail, JOB.model_copy(update={"reads_files": False})).attachments

    assert (file.name, file.size_bytes, file.data, file.problem) == ("a.pdf", 3, b"", "")


def test_files_beyond_the_limits_are_named_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty files, and 10 MiB in all: a small one behind a large one still fits."""
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    mail = _mail()
    mail.add_attachment(b"x" * 900, maintype="application", subtype="zip", filename="0")
    mail.add_attachment(b"x" * 200, maintype="application", subtype="zip", filename="1")
    for number in range(2, 60):
        mail.add_attachment(b"x", maintype="application", subtype="zip", filename=str(number))

    found = _read(mail).attachments

    assert [one.problem for one in found[:21]] == ["", "too_large", *[""] * 18, "too_large"]
    assert found[1].data == b""
    assert len(found) == files.MAX_LISTED


def test_layout_is_no_file() -> None:
    """A logo of the HTML, a signature and another version of the text say nothing; a picture sent as a file does."""
    mail = _mail()
    mail.add_alternative("<p>What does it say?<img src='cid:logo'></p>", subtype="html")
    rich = mail.get_body(("html",))
    assert rich is not None
    rich.add_related(b"png", maintype="image", subtype="png", cid="<logo>")
    mail.make_mixed()
    mail.add_attachment(b"sig", maintype="application", subtype="pgp-signature")
    mail.add_attachment(b"photo", maintype="image", subtype="jpeg", filename="photo.jpg", cid="<photo>")

    assert [one.name for one in _read(mail).attachments] == ["photo.jpg"]


def test_attached_mail_is_read_as_text() -> None:
    """A forwarded mail is what the question is about; its own files and what it quotes are not looked into."""
    mail = _mail("What do they want?")
    inner = _mail("We want our money back.\n\nOn Sat, 21 Nov 2026 at 10:00, Hub wrote:\n> Old")
    inner.replace_header("Subject", "Invoice")
    mail.add_attachment(inner)

    (file,) = _read(mail).attachments

    assert (file.media_type, file.data) == ("message/rfc822", b"")
    assert file.text == f"From: {JANE}\nDate: \nSubject: Invoice\n\nWe want our money back."


def test_nothing_is_fetched_for_a_mail() -> None:
    """A part that lies on another server stays there."""
    outer = MIMEMultipart()
    outer["From"], outer["To"], outer["Message-ID"] = JANE, HUB, "<q@example.net>"
    outer.attach(MIMEText("What is this?"))
    external = MIMEMessage(EmailMessage(), "external-body; access-type=URL; URL=http://127.0.0.1:9/x")
    outer.attach(external)

    parsed = ParsedMail.model_validate(reading.read(outer.as_bytes(), JOB))

    assert parsed.text == "What is this?"
    assert [(one.media_type, one.problem) for one in parsed.attachments] == [
        ("message/external-body", "unreachable")
    ]


async def test_ten_mebibytes_come_through_the_process() -> None:
    """The limits on files and on the answer of the parsing process fit each other."""
    mail = _mail("ü" * 100_000)
    half = files.MAX_BYTES // 2
    for number in range(2):
        mail.add_attachment(
            bytes([number]) * half, maintype="application", subtype="zip", filename=f"{number}.zip"
        )
    parser = MailParser()
    try:
        parsed = await parser.parse(mail.as_bytes(), JOB)
    finally:
        await parser.close()

    assert [len(one.data) for one in parsed.attachments] == [half, half]
    assert parsed.attachments[1].data[:1] == b"\x01"


async def test_files_become_attachments_by_the_reader(dovecot: Dovecot) -> None:
    """Each file goes to the reader, a mail without words is asked about its files, and what is missing is told."""
    one, two = _mail(), _mail("")
    two.replace_header("Message-ID", "<q2@example.net>")
    one.add_attachment("The port is 8080.", filename="../manual.txt")
    one.add_attachment(_mail("Old question"))
    two.add_attachment("Just this.", filename="only.txt")
    for mail in (one, two):
        dovecot.deliver(JANE, [HUB], mail.as_bytes())
    reader = Reader()
    settings = EmailSettings(accounts=(account(HUB, dovecot.port),), poll_s=1, command_timeout_s=10)
    async with Hub(settings, reader=reader) as hub:
        messages = await hub.bus.received(2)

    manual, forwarded = messages[0].attachments
    assert (manual.name, manual.text.strip(), manual.problem) == ("manual.txt", "The port is 8080.", "")
    assert "Old question" in forwarded.text
    assert [name for name, _, _ in reader.files] == ["manual.txt", "only.txt"]
    assert messages[1].text == ""
    assert messages[1].attachments[0].text.strip() == "Just this."


async def test_files_without_a_reader_are_known_by_name(dovecot: Dovecot) -> None:
    """Nothing of them is read, and a mail that is nothing but a file is not answered."""
    one, two = _mail(), _mail("")
    two.replace_header("Message-ID", "<q2@example.net>")
    for mail in (two, one):
        mail.add_attachment("The port is 8080.", filename="manual.txt")
        dovecot.deliver(JANE, [HUB], mail.as_bytes())
    settings = EmailSettings(accounts=(account(HUB, dovecot.port),), poll_s=1, command_timeout_s=10)
    async with Hub(settings) as hub:
        (message,) = await hub.bus.received(1)

    assert [(one.name, one.text) for one in message.attachments] == [("manual.txt", "")]
