"""Mailboxes: each mail is a document, whatever it is made of."""

import contextlib
import mailbox
from email.message import EmailMessage
from pathlib import Path

import pytest

from hub.errors import DocumentUnreadable
from knowledge.embedder import Embedder
from knowledge.mail import read_mail, without_quotes
from knowledge.reading import LimitedReader
from knowledge.sources.base import Content, SourceUnreadable
from knowledge.sources.mbox import MboxSource


def mail(subject: str, text: str, *, number: str = "", html: str = "") -> EmailMessage:
    """Write a mail."""
    message = EmailMessage()
    message["From"] = "Jo Müller <jo@example.org>"
    message["Subject"] = subject
    message["Date"] = "Fri, 01 May 2026 10:00:00 +0200"
    if number:
        message["Message-ID"] = f"<{number}@example.org>"
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    return message


def box(file: Path, *mails: EmailMessage) -> Path:
    """Write a mailbox as the standard library does."""
    opened = mailbox.mbox(str(file))
    for one in mails:
        opened.add(one)
    opened.close()
    return file


def contents(file: Path, max_mail_bytes: int = 100_000) -> dict[str, bytes]:
    """Read all mails."""
    with MboxSource(file, max_mail_bytes=max_mail_bytes).open() as listing:
        found = {}
        for item in listing.items:
            content = item.read("")
            assert content is not None
            found[item.location] = content.data
        return found


def test_each_mail_is_found_by_its_name(tmp_path: Path) -> None:
    """The Message-ID, or what it says; a "From " in a text begins no mail."""
    file = box(
        tmp_path / "box",
        mail("One", "From here on it is quoted.\n\nFrom there, too.", number="1"),
        mail("Two", "Nothing."),
        mail("Three", "Last.", number="3"),
    )

    found = contents(file)

    first, second, third = found
    assert (first, third) == ("1@example.org", "3@example.org")
    assert second.startswith("mail ")
    assert b"\nFrom here on" in found[first]
    assert b"\nFrom there, too." in found[first]


def test_the_same_mail_is_there_once(tmp_path: Path) -> None:
    """Two mails of one name are two, two equal ones are one."""
    file = box(
        tmp_path / "box",
        mail("One", "First.", number="1"),
        mail("One", "First.", number="1"),
        mail("One", "Other.", number="1"),
    )

    assert len(contents(file)) == 2


@pytest.mark.parametrize("data", [b"hello", b"\x00\x01", b"%PDF-1.4", b"\n\nSubject: x\n\nx", b"FROM x\n"])
def test_what_is_no_mailbox_is_told(tmp_path: Path, data: bytes) -> None:
    """Nothing of it is taken for mail."""
    (tmp_path / "box").write_bytes(data)

    with pytest.raises(SourceUnreadable, match="no mailbox"):
        contents(tmp_path / "box")


def test_an_empty_mailbox_holds_nothing(tmp_path: Path) -> None:
    """And is no error; one that is not there is."""
    (tmp_path / "box").touch()

    assert contents(tmp_path / "box") == {}
    with pytest.raises(SourceUnreadable, match="cannot be read"):
        contents(tmp_path / "none")


def test_a_mail_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """The others are."""
    file = box(tmp_path / "box", mail("Large", "x " * 80_000, number="1"), mail("Small", "y", number="2"))
    with MboxSource(file, max_mail_bytes=100_000).open() as listing:
        large, small = listing.items

    with pytest.raises(DocumentUnreadable, match="larger"):
        large.read("")
    assert small.read("") is not None


def test_a_line_without_end_is_read(tmp_path: Path) -> None:
    """However long it is, it begins no mail in its middle."""
    (tmp_path / "box").write_bytes(
        b"From a\nSubject: x\n\n" + b"y" * 65_536 + b"From b\n\nFrom c\nSubject: z\n\nz\n"
    )

    assert len(contents(tmp_path / "box", 1_000_000)) == 2


def test_a_mail_says_who_wrote_what_when() -> None:
    """Its subject is the title; of two alternatives the plain one is read."""
    document = read_mail(mail("Grüße", "The ferry leaves at noon.", html="<p>Other</p>").as_bytes())

    (section,) = document.sections
    assert document.title == "Grüße"
    assert (section.heading, section.text) == ("from Jo Müller 2026-05-01", "The ferry leaves at noon.")


def test_html_alone_is_read_as_text() -> None:
    """Without what is hidden in it."""
    message = EmailMessage()
    message["Subject"] = "Offer"
    message.set_content("<p>Seen.</p><p style='display:none'>Hidden.</p><script>x()</script>", subtype="html")

    (section,) = read_mail(message.as_bytes()).sections

    assert "Seen." in section.text
    assert "Hidden" not in section.text


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("iso-8859-1", "Grüße"),
        ("iso-2022-jp", "日本語"),
        ("koi8-r", "Привет"),
        ("gb2312", "你好"),
        ("utf-8", "ü"),
    ],
)
def test_texts_of_any_charset_are_read(charset: str, text: str) -> None:
    """As their mail declares it."""
    head = f"Subject: x\nContent-Type: text/plain; charset={charset}\n\n".encode()

    assert read_mail(head + text.encode(charset)).sections[0].text == text


@pytest.mark.parametrize("charset", ["unicode_escape", "utf-7", "zlib", "rot13", "idna", "x" * 500, "hex"])
def test_encodings_that_are_none_of_text_are_not_used(charset: str) -> None:
    """A stranger chooses no program."""
    head = f"Subject: x\nContent-Type: text/plain; charset={charset}\n\n".encode()

    assert read_mail(head + b"a+ADw-script+AD4- \\x41").sections[0].text == "a+ADw-script+AD4- \\x41"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Yes.\n\nOn Monday Jo wrote:\n> Is it?\n> Really?\n", "Yes."),
        ("Yes.\n\nOn Monday, 1 May,\nJo <jo@example.org> wrote:\n> Is it?", "Yes."),
        ("> Is it?\n\nYes.", "> Is it?\n\nYes."),
        ("> Is it?\nYes.\n> Really?\n", "> Is it?\nYes."),
        ("No quote.", "No quote."),
        ("> All of it.", ""),
        ("", ""),
    ],
)
def test_quotes_at_the_end_are_left_out(text: str, left: str) -> None:
    """What is quoted is a mail of its own; between answers it stays."""
    assert without_quotes(text) == left


HOSTILE = {
    "no header": b"\n\n\n",
    "nothing": b"",
    "binary": bytes(range(256)) * 100,
    "deep": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3_000)
    ),
    "many parts": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 100_000,
    "many headers": b"X: y\n" * 200_000 + b"\ntext",
    "one header": b"Subject: " + b"=?utf-8?q?x?= " * 50_000 + b"\n\ntext",
    "brackets": b"To: " + b"(" * 50_000 + b"\nFrom: " + b"(" * 50_000 + b"\nSubject: x\n\ntext",
    "parameters": b"Content-Type: text/plain; " + b"a=b; " * 50_000 + b"\n\ntext",
    "bad base64": b"Content-Transfer-Encoding: base64\n\n" + b"=" * 1_000,
    "bad date": b"Date: Fri, 99 Xxx 99999999 99:99:99 +9999999\nSubject: x\n\ntext",
    "bad boundary": b"Content-Type: multipart/mixed\n\ntext",
    "encoded": b"Subject: =?unicode_escape?q?x?= =?zlib?b?eJw=?=\n\ntext",
    "html bomb": b"Content-Type: text/html\n\n" + b"<div>" * 200_000 + b"text",
}


def test_hostile_mails_end_nothing(embedder: Embedder) -> None:
    """Each gives a text or a reason, within the limits of its process; the next mail is read as ever."""
    good = mail("Fine", "The ferry leaves at noon.").as_bytes()
    with LimitedReader(1, embedder.tokenizer_file, 160) as reader:
        for name, data in HOSTILE.items():
            with contextlib.suppress(DocumentUnreadable):
                assert reader.read(Content(data=data, name="mail.eml")).chunks, name

            assert reader.read(Content(data=good, name="mail.eml")).title == "Fine", name


def test_a_mailbox_that_is_written_anew_meanwhile_mixes_no_mails_up(tmp_path: Path) -> None:
    """What lies there by now is another mail, of the same length even."""
    file = box(tmp_path / "box", mail("One", "Text.", number="1"), mail("Two", "Text.", number="2"))

    with MboxSource(file, max_mail_bytes=10_000).open() as listing:
        first, second = listing.items
        file.write_bytes(file.read_bytes().replace(b"<2@", b"<3@"))
        assert first.read("") is not None
        with pytest.raises(DocumentUnreadable, match="changed while it was read"):
            second.read("")
