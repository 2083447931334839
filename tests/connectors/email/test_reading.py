"""Hostile and odd mail: what is read of it, and what is not."""

import pytest

from connectors.email.reading import UnreadableMailError
from tests.connectors.email.read import HEAD, html_mail, mail_of, mail_with


def test_plain_mail_is_read() -> None:
    """The ordinary case."""
    mail = mail_with(b"Date: Sat, 21 Nov 2026 10:00:00 +0100", body=b"How do I begin?\r\n")

    assert (mail.sender, mail.sender_name, mail.message_id) == ("jane@example.net", "Jane", "<a@b>")
    assert (mail.text, mail.automatic, mail.suspicious) == ("How do I begin?", "", "")
    assert str(mail.date) == "2026-11-21 09:00:00+00:00"


@pytest.mark.parametrize(
    "line",
    [
        b"Message-ID: <[x@microsoft.com]>",
        b'To: "',
        b"To: (c):",
        b"To: " + b"(" * 5000,
        b"Content-Type: text/plain; name*",
        b"Content-Type: text/plain; " + b"; ".join(b"p%d=x" % n for n in range(4000)),
        b"Content-Type: text/plain; charset=utf-7",
        b"Content-Type: text/plain; charset=unicode_escape",
        b"Content-Type: text/plain; charset=zip",
        b"Content-Type: text/plain; charset=\xff\xfe",
        b"Content-Transfer-Encoding: x-unknown",
        b"Date: Mon, 99 Foo 99999 99:99:99 +9999999",
        b"Date: ",
        b"Subject: =?utf-8?b?////?=",
        b"Subject: =?nonsense?q?x?=",
        b"Subject: =?utf-8?b?" + b"A" * 60_000,
        b"References: " + b" ".join(b"<%d@x>" % n for n in range(3000)),
        b"References: <<<<>>>> junk < > <@>",
        b"X-Eight: \xff\xfe\xe4",
    ],
)
def test_broken_header_does_not_stop_a_mail(line: bytes) -> None:
    """The mail is readable although one header is not."""
    mail = mail_with(line)

    assert mail.text == "How?"
    assert mail.automatic == ""
    assert len(mail.references) <= 20


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((b"From: ",), "no_sender"),
        ((b"From: undisclosed:;",), "no_sender"),
        ((b"From: a\0b@example.net",), "no_sender"),
        ((b"From: " + b"x" * 1024 + b"@example.net",), "no_sender"),
        ((b"From: hub@example.org",), "own_address"),
        ((b"To: " + b", ".join(b"p%d@example.org" % n for n in range(1500)),), "too_many_recipients"),
        ((b"To: " + b"\r\n ".join([b", ".join(b"p%d@x.org" % n for n in range(900))] * 10),), "too_many_recipients"),
        ((b"Authentication-Results: mx.example.org; dmarc=fail",), "sender_not_authentic"),
        ((b"Content-Type: multipart/encrypted; boundary=x",), "encrypted"),
        ((b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data",), "encrypted"),
    ],
)  # fmt: skip
def test_mail_that_gets_no_answer(lines: tuple[bytes, ...], expected: str) -> None:
    """Left alone, with the reason."""
    assert mail_with(*lines).automatic == expected


@pytest.mark.parametrize(
    "lines",
    [
        (b"From: jane@example.net, mallory@example.net",),
        (b"From: jane@example.net", b"From: mallory@example.net"),
    ],
)
def test_two_senders_are_suspicious(lines: tuple[bytes, ...]) -> None:
    """A mail program shows one of them and the filters check the other."""
    assert mail_with(*lines).suspicious == "two_senders"


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(200_000)) + b"\r\nHow?",
        HEAD + b"X-Big: " + b"a" * 5_242_880 + b"\r\n\r\nHow?",
        HEAD + b"X-Big: " + b"a" * 300_000,
        HEAD + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + b"--b\r\n\r\nx\r\n" * 100_000,
        HEAD + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + b"--b\r\n\r\nx\r\n" * 300,
        HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 25 + b"How?",
        HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 450 + b"How?",
        HEAD
        + b"".join(
            b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(900)
        ),
    ],
    ids=["lines", "long line", "no end", "100k parts", "300 parts", "25 deep", "450 deep", "900 deep"],
)
def test_oversized_structure_is_refused(raw: bytes) -> None:
    """Refused by a cheap check, with a reason for the person who looks at it."""
    with pytest.raises(UnreadableMailError):
        mail_of(raw)


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (b"text/plain; charset=utf-8", "Grüße?".encode(), "Grüße?"),
        (b"text/plain; charset=iso-8859-1", "Grüße?".encode("latin-1"), "Grüße?"),
        (b"text/plain", "Grüße?".encode(), "Grüße?"),
        (b"text/plain; charset=us-ascii", "Grüße?".encode("latin-1"), "Grüße?"),
        (b"text/plain; charset=utf-8", b"a\xff\xfeb?", "a��b?"),
        (b"text/plain; charset=utf-7", b"+ADw-script+AD4-?", "+ADw-script+AD4-?"),
        (b"text/plain; charset=unicode_escape", rb"\x3cscript\x3e?", r"\x3cscript\x3e?"),
        (b"text/plain; charset=utf-16", "Grüße?".encode("utf-16"), "Grüße?"),
        (b"text/plain; charset=koi8-r", "Привет?".encode("koi8-r"), "Привет?"),
        (b"text/plain; charset=gb18030", "你好?".encode("gb18030"), "你好?"),
        (b"text/plain; charset=gb2312", "朱镕基?".encode("gb18030"), "朱镕基?"),
        (b"text/plain; charset=iso-8859-1", "„Wie?“ €".encode("cp1252"), "„Wie?“ €"),
        (b"text/plain; charset=iso-2022-jp", "どうやって?".encode("iso-2022-jp"), "どうやって?"),
        (b"text/plain; charset=shift_jis", "①どうやって?".encode("cp932"), "①どうやって?"),
        (b"text/plain; charset=ks_c_5601-1987", "어떻게?".encode("cp949"), "어떻게?"),
        (b"text/plain; charset=windows-1256", "كيف?".encode("cp1256"), "كيف?"),
        (b"text/plain; charset=iso-8859-8-i", "איך?".encode("iso8859_8"), "איך?"),
        (b"text/plain; charset=unknown-8bit", "Grüße?".encode("latin-1"), "Grüße?"),
        (
            b"text/plain",
            "Как подключить почтовый ящик к хабу?".encode("koi8-r"),
            "Как подключить почтовый ящик к хабу?",
        ),
        (
            b"text/plain",
            "Как подключить почтовый ящик к хабу?".encode("cp1251"),
            "Как подключить почтовый ящик к хабу?",
        ),
        (b"text/html", "<meta charset=windows-1251><p>Как?".encode("cp1251"), "Как?"),
        (
            b"text/html",
            b'<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-2"><p>\xa3\xf3d\xbc?',
            "Łódź?",
        ),
        (b"text/html", "<meta charset=utf-16><p>Größe?".encode(), "Größe?"),
    ],
)
def test_character_sets_are_decoded_without_harm(content_type: bytes, body: bytes, expected: str) -> None:
    """As declared, else guessed, never as a codec that makes markup out of ASCII."""
    assert mail_with(b"Content-Type: " + content_type, body=body).text == expected


def test_header_cannot_be_smuggled_through_the_subject() -> None:
    """A decoded line break stays inside the subject."""
    mail = mail_with(b"Subject: =?utf-8?q?Hi=0D=0ABcc:_all@example.org?=")

    assert mail.subject == "Hi Bcc: all@example.org"


def test_eight_bit_header_is_read() -> None:
    """Programs that skip the encoding are understood."""
    assert mail_with("Subject: Größe".encode()).subject == "Größe"
    assert mail_with("Subject: Größe".encode("latin-1")).subject == "Größe"


@pytest.mark.parametrize(
    "ids", [(), (b"Message-ID: <a b>",), (b"Message-ID: <a@b>", b"Message-ID: <c@d>"), (b"Message-ID: <" + b"x" * 998 + b"@y>",)]
)  # fmt: skip
def test_unusable_message_id_is_none(ids: tuple[bytes, ...]) -> None:
    """Missing, malformed, doubled or endless: the content stands for the mail."""
    head = HEAD.replace(b"Message-ID: <a@b>\r\n", b"")
    mail = mail_of(head + b"".join(line + b"\r\n" for line in ids) + b"\r\nHow?")

    assert mail.message_id == ""
    assert len(mail.content_digest) == 64


@pytest.mark.parametrize(
    ("body", "text", "quoted"),
    [
        ("New\n\nOn Sat, 21 Nov 2026 at 10:00, Hub wrote:\n> Old", "New", "Old"),
        ("Neu\n\nAm 21.11.2026 um 10:00 schrieb Hub:\n> Alt", "Neu", "Alt"),
        ("New\n\n-----Original Message-----\nFrom: Hub\nSent: today\nSubject: Q\n\nOld", "New", "Old"),
        ("> Old one\nYes.\n> Old two\nNo.", "Yes.\nNo.", "Old one\nOld two"),
        ("On Sat, 21 Nov 2026 at 10:00, Hub wrote:\n> Old\n\nNew below", "New below", "Old"),
        ("Does it work?\n- one\n- two\n", "Does it work?\n- one\n- two", ""),
        ("How?\n-- \nJane\nExample Inc.", "How?", ""),
        ("Thanks,\nbut how do I stop it?", "Thanks,\nbut how do I stop it?", ""),
        ("From: here it is quoted wrongly, is it?", "From: here it is quoted wrongly, is it?", ""),
    ],
)
def test_new_text_is_told_from_the_history(body: str, text: str, quoted: str) -> None:
    """The question is what the person wrote now."""
    mail = mail_with(body=body.encode())

    assert mail.text == text
    assert quoted in mail.quoted


def test_html_history_is_taken_out() -> None:
    """The quotation of a web mailer is history, too."""
    mail = html_mail(
        '<div>New</div><div class="gmail_quote">On Sat, Hub wrote:<blockquote>Old</blockquote></div>'
    )

    assert (mail.text, "Old" in mail.quoted) == ("New", True)


@pytest.mark.parametrize("body", [b"", b"   \r\n", b"-- \r\nJane", b"\x00\x01"])
def test_empty_mail_gets_no_answer(body: bytes) -> None:
    """Nothing was asked."""
    assert mail_with(body=body).automatic == "empty"


def test_plain_part_wins_over_html() -> None:
    """Of two versions the plain one is read; an empty one does not hide the other."""
    head = HEAD + b'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
    rich = b"--b\r\nContent-Type: text/html\r\n\r\n<p>Rich?</p>\r\n--b--\r\n"

    assert mail_of(head + b"--b\r\nContent-Type: text/plain\r\n\r\nPlain?\r\n" + rich).text == "Plain?"
    assert mail_of(head + b"--b\r\nContent-Type: text/plain\r\n\r\n  \r\n" + rich).text == "Rich?"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"../../etc/cron.d/x", "x"),
        (b"..\\..\\boot.ini", "boot.ini"),
        (b"a\x00b.txt", "a b.txt"),
        (b"x" * 300, "x" * 100),
        (b"report.pdf. . ", "report.pdf"),
        (b"..", "unnamed"),
    ],
)
def test_attachment_names_are_made_harmless(name: bytes, expected: str) -> None:
    """A name is something to show, never a path."""
    part = (
        b'--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename="'
        + name.replace(b"\\", b"\\\\")
    )
    mail = mail_with(
        b'Content-Type: multipart/mixed; boundary="b"',
        body=b"--b\r\nContent-Type: text/plain\r\n\r\nHow?\r\n" + part + b'"\r\n\r\nabc\r\n--b--\r\n',
    )

    assert [(file.name, file.size_bytes) for file in mail.attachments] == [(expected, 3)]


def test_media_types_are_plain_ascii() -> None:
    """A media type is compared, and has no other characters."""
    mail = mail_with(
        b'Content-Type: multipart/mixed; boundary="b"',
        body=b"--b\r\nContent-Type: text/plain\r\n\r\nHow?\r\n"
        b"--b\r\nContent-Type: application/\xff\xfe\r\n\r\nabc\r\n--b--\r\n",
    )

    assert all(file.media_type.isascii() for file in mail.attachments)


@pytest.mark.parametrize("encoding", [b"base64", b"quoted-printable"])
def test_broken_transfer_encoding_is_read_as_far_as_it_goes(encoding: bytes) -> None:
    """Garbage is no reason to fail."""
    mail = mail_with(b"Content-Transfer-Encoding: " + encoding, body=b"=ZZ!!=\r\nSG93Pw=\r\n=")

    assert mail.suspicious == ""


def test_long_history_is_capped() -> None:
    """200 kB of quotation cost neither time nor room in the prompt."""
    mail = mail_with(
        body=b"New?\r\n\r\nOn Sat, 21 Nov 2026 at 10:00, Hub wrote:\r\n" + b"> old text here\r\n" * 13_000
    )

    assert mail.text == "New?"
    assert len(mail.quoted) <= 65_536
