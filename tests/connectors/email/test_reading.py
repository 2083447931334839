"""Hostile and odd mail: what is read of it, and what is not."""

import pytest

from connectors.email import reading
from connectors.email.mail import ParsedMail, ParseJob

JOB = ParseJob(addresses=("hub@example.org",), own=("hub@example.org",), authserv_id="mx.example.org")
HEAD = b"From: Jane <jane@example.net>\r\nTo: hub@example.org\r\nMessage-ID: <a@b>\r\nSubject: Q\r\n"


def _read(raw: bytes) -> ParsedMail:
    return ParsedMail.model_validate(reading.read(raw, JOB))


def _with(*lines: bytes, body: bytes = b"How?", head: bytes = HEAD) -> ParsedMail:
    replaced = {line.partition(b":")[0].lower() for line in lines}
    kept = [line for line in head.splitlines() if line.partition(b":")[0].lower() not in replaced]
    return _read(b"\r\n".join([*kept, *lines]) + b"\r\n\r\n" + body)


def _html(html: str) -> ParsedMail:
    return _with(b"Content-Type: text/html; charset=utf-8", body=html.encode())


def test_plain_mail_is_read() -> None:
    """The ordinary case."""
    mail = _with(b"Date: Sat, 21 Nov 2026 10:00:00 +0100", body=b"How do I begin?\r\n")

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
    mail = _with(line)

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
    assert _with(*lines).automatic == expected


@pytest.mark.parametrize(
    "lines",
    [
        (b"From: jane@example.net, mallory@example.net",),
        (b"From: jane@example.net", b"From: mallory@example.net"),
    ],
)
def test_two_senders_are_suspicious(lines: tuple[bytes, ...]) -> None:
    """A mail program shows one of them and the filters check the other."""
    assert _with(*lines).suspicious == "two_senders"


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
    with pytest.raises(reading.UnreadableMailError):
        reading.read(raw, JOB)


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
    assert _with(b"Content-Type: " + content_type, body=body).text == expected


def test_header_cannot_be_smuggled_through_the_subject() -> None:
    """A decoded line break stays inside the subject."""
    mail = _with(b"Subject: =?utf-8?q?Hi=0D=0ABcc:_all@example.org?=")

    assert mail.subject == "Hi Bcc: all@example.org"


def test_eight_bit_header_is_read() -> None:
    """Programs that skip the encoding are understood."""
    assert _with("Subject: Größe".encode()).subject == "Größe"
    assert _with("Subject: Größe".encode("latin-1")).subject == "Größe"


@pytest.mark.parametrize(
    "ids", [(), (b"Message-ID: <a b>",), (b"Message-ID: <a@b>", b"Message-ID: <c@d>"), (b"Message-ID: <" + b"x" * 998 + b"@y>",)]
)  # fmt: skip
def test_unusable_message_id_is_none(ids: tuple[bytes, ...]) -> None:
    """Missing, malformed, doubled or endless: the content stands for the mail."""
    head = HEAD.replace(b"Message-ID: <a@b>\r\n", b"")
    mail = _read(head + b"".join(line + b"\r\n" for line in ids) + b"\r\nHow?")

    assert mail.message_id == ""
    assert len(mail.content_digest) == 64


@pytest.mark.parametrize(
    "hidden",
    [
        '<p style="display:none">BAD</p>',
        '<p style="DISPLAY : none !important">BAD</p>',
        '<span style="font-size:0">BAD</span>',
        '<span style="font-size:0px;color:red">BAD</span>',
        '<span style="color:#FFFFFF">BAD</span>',
        '<span style="opacity:0">BAD</span>',
        '<div style="max-height:0;overflow:hidden">BAD</div>',
        '<div style="visibility:hidden"><b>BAD</b></div>',
        "<style>.x{display:none}</style><p class=x>BAD</p>",
        "<p hidden>BAD</p>",
        '<p style="color:#fefefe">BAD</p>',
        '<p style="color:white;background:#fff">BAD</p>',
        '<table bgcolor="#000000"><tr><td style="background-color:rgb(255, 255, 255)"><font color="#FFF">BAD</font></table>',
        '<div style="background:black"><p style="color:#000">BAD</p></div>',
        '<p style="color:rgba(0,0,0,0)">BAD</p>',
        '<p style="color:hsl(0, 0%, 100%)">BAD</p>',
        '<p style="color:transparent">BAD</p>',
        '<p style="font-size:1px">BAD</p>',
        '<p style="font-size:0.1em">BAD</p>',
        '<p style="font:1px/1 Arial">BAD</p>',
        '<p style="font-size:calc(0px)">BAD</p>',
        '<p style="visibility:collapse">BAD</p>',
        '<p style="opacity:.01">BAD</p>',
        '<div style="height:0;overflow:hidden">BAD</div>',
        '<div style="width:1px;height:1px;overflow:hidden">BAD</div>',
        '<div style="position:absolute;left:-9999px">BAD</div>',
        '<div style="position:fixed;top:-200em">BAD</div>',
        '<div style="text-indent:-9999px">BAD</div>',
        '<div style="margin-left:-5000px">BAD</div>',
        '<div style="transform:scale(0)">BAD</div>',
        '<div style="transform:translateX(-9999px)">BAD</div>',
        '<div style="clip:rect(0 0 0 0);position:absolute">BAD</div>',
        '<div style="clip-path:inset(50%)">BAD</div>',
        '<div style="mso-hide:all">BAD</div>',
        "<style>@media screen{.x{display:none}}</style><p class=x>BAD</p>",
        "<style>/* a { */ p.x{color:#fff}</style><p class=x>BAD</p>",
        "<style>.x{display:none !important}</style><p class=x style='display:block'>BAD</p>",
        "<style>.x{font-size:0} .y{color:red}</style><div class=x><b class=y>BAD</b></div>",
        "<style>@font-face{display:none} %%{display:none} .x{display:none}</style><p class=x>BAD</p>",
        "<dialog>BAD</dialog>",
        "<video>BAD</video>",
        "<script>BAD</script>",
        "<template>BAD</template>",
        "<!-- BAD -->",
        "<title>BAD</title>",
    ],
)
def test_hidden_html_text_is_removed(hidden: str) -> None:
    """What a person cannot see, the model does not read."""
    mail = _html(f"<html><body><p>How do I begin?</p>{hidden}</body></html>")

    assert mail.text == "How do I begin?"
    assert "BAD" not in mail.quoted


def test_visible_html_text_is_kept() -> None:
    """White on a coloured ground and text that small screens hide are visible."""
    mail = _html(
        "<style>@media (max-width:500px){.wide{display:none}}</style><p class=wide>One</p>"
        '<div style="background:#000"><span style="color:white">Two</span></div>'
        "<table><tr><td>Three</td></tr></table><ul><li>Four</li></ul>"
    )

    assert [word for word in ("One", "Two", "Three", "Four") if word in mail.text] == [
        "One",
        "Two",
        "Three",
        "Four",
    ]


@pytest.mark.parametrize(
    "shown",
    [
        '<table><tr><td style="border-width:0;line-height:0">GOOD</td></tr></table>',
        '<div style="font-size:0"><div style="font-size:13px">GOOD</div></div>',
        '<div style="visibility:hidden"><span style="visibility:visible">GOOD</span></div>',
        '<div style="height:0">GOOD</div>',
        '<div style="overflow:hidden;width:1%">GOOD</div>',
        '<div style="overflow:hidden;max-width:600px">GOOD</div>',
        '<table background="sky.png"><tr><td style="color:white">GOOD</td></tr></table>',
        '<div style="background-image:linear-gradient(#000,#333);color:#fff">GOOD</div>',
        '<div style="background:#123456 url(x.png);color:white">GOOD</div>',
        '<div style="background:navy"><font color="white">GOOD</font></div>',
        '<p style="color:#777">GOOD</p>',
        '<p style="color:var(--text)">GOOD</p>',
        '<p style="opacity:0.6">GOOD</p>',
        '<p style="font-size:small">GOOD</p>',
        '<p style="margin-left:-15px">GOOD</p>',
        "<style>a:hover{display:none}</style><a href='https://x'>GOOD</a>",
        "<style>@media print{.x{display:none}}</style><p class=x>GOOD</p>",
        "<style>.x{display:none}</style><p class=x style='display:block'>GOOD</p>",
        '<p style=";;:;color">GOOD</p>',
    ],
)
def test_text_a_person_sees_is_kept(shown: str) -> None:
    """Mail programs write many styles that look like hiding and are not."""
    assert "GOOD" in _html(f"<html><body><p>How do I begin?</p>{shown}</body></html>").text


def test_nothing_is_read_of_a_page_that_is_all_hidden() -> None:
    """Not even where the root element itself is."""
    assert _html("<html style='display:none'><body>BAD</body></html>").automatic == "empty"
    assert _html("<body style='opacity:0'><p>BAD</p></body>").automatic == "empty"


def test_deeply_nested_html_is_read() -> None:
    """5,000 elements inside each other are only text."""
    assert "How?" in _html("<div>" * 5000 + "How?" + "</div>" * 5000).text


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
    mail = _with(body=body.encode())

    assert mail.text == text
    assert quoted in mail.quoted


def test_html_history_is_taken_out() -> None:
    """The quotation of a web mailer is history, too."""
    mail = _html(
        '<div>New</div><div class="gmail_quote">On Sat, Hub wrote:<blockquote>Old</blockquote></div>'
    )

    assert (mail.text, "Old" in mail.quoted) == ("New", True)


@pytest.mark.parametrize("body", [b"", b"   \r\n", b"-- \r\nJane", b"\x00\x01"])
def test_empty_mail_gets_no_answer(body: bytes) -> None:
    """Nothing was asked."""
    assert _with(body=body).automatic == "empty"


def test_plain_part_wins_over_html() -> None:
    """Of two versions the plain one is read; an empty one does not hide the other."""
    head = HEAD + b'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
    rich = b"--b\r\nContent-Type: text/html\r\n\r\n<p>Rich?</p>\r\n--b--\r\n"

    assert _read(head + b"--b\r\nContent-Type: text/plain\r\n\r\nPlain?\r\n" + rich).text == "Plain?"
    assert _read(head + b"--b\r\nContent-Type: text/plain\r\n\r\n  \r\n" + rich).text == "Rich?"


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
    mail = _with(
        b'Content-Type: multipart/mixed; boundary="b"',
        body=b"--b\r\nContent-Type: text/plain\r\n\r\nHow?\r\n" + part + b'"\r\n\r\nabc\r\n--b--\r\n',
    )

    assert [(file.name, file.size_bytes) for file in mail.attachments] == [(expected, 3)]


def test_media_types_are_plain_ascii() -> None:
    """A media type is compared, and has no other characters."""
    mail = _with(
        b'Content-Type: multipart/mixed; boundary="b"',
        body=b"--b\r\nContent-Type: text/plain\r\n\r\nHow?\r\n"
        b"--b\r\nContent-Type: application/\xff\xfe\r\n\r\nabc\r\n--b--\r\n",
    )

    assert all(file.media_type.isascii() for file in mail.attachments)


@pytest.mark.parametrize("encoding", [b"base64", b"quoted-printable"])
def test_broken_transfer_encoding_is_read_as_far_as_it_goes(encoding: bytes) -> None:
    """Garbage is no reason to fail."""
    mail = _with(b"Content-Transfer-Encoding: " + encoding, body=b"=ZZ!!=\r\nSG93Pw=\r\n=")

    assert mail.suspicious == ""


def test_long_history_is_capped() -> None:
    """200 kB of quotation cost neither time nor room in the prompt."""
    mail = _with(
        body=b"New?\r\n\r\nOn Sat, 21 Nov 2026 at 10:00, Hub wrote:\r\n" + b"> old text here\r\n" * 13_000
    )

    assert mail.text == "New?"
    assert len(mail.quoted) <= 65_536
