"""Mail of any bytes whatever: read or refused, quickly."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.email import html, quotes, reading
from connectors.email.mail import ParsedMail, ParseJob
from tests.fuzzing import soon, tried

JOB = ParseJob(addresses=("hub@example.org",), own=("hub@example.org",), authserv_id="mx", reads_files=True)
HEAD = b"From: jane@example.net\r\nTo: hub@example.org\r\nMessage-ID: <a@b>\r\n"

PIECES = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b";", b"=", b'"', b"(", b")", b"<", b">", b"@", b"\\",
    b"From: ", b"To: ", b"Cc: ", b"Reply-To: ", b"Subject: ", b"Date: ", b"References: ", b"In-Reply-To: ", b"Message-ID: ",
    b"Return-Path: ", b"Authentication-Results: mx; dmarc=", b"Auto-Submitted: ", b"Content-Type: ", b"Content-ID: <c>\r\n",
    b"Content-Disposition: attachment; filename", b"Content-Transfer-Encoding: ", b"text/plain", b"text/html", b"text/calendar",
    b"multipart/mixed; boundary=b", b"multipart/alternative; boundary=b", b"multipart/report; boundary=b", b"message/rfc822",
    b"message/delivery-status", b"message/external-body", b"message/partial; id=x; number=1", b"application/pkcs7-mime",
    b"--b\r\n", b"--b--\r\n", b"; charset=", b"utf-7", b"utf-16", b"gb2312", b"iso-2022-kr", b"unicode_escape", b"hz", b"idna",
    b"base64", b"quoted-printable", b"x-uuencode", b"begin 644 x\n#0V%T\n`\nend\n", b"=?utf-8?b?", b"=?utf-16?q?=D8=00?=", b"?=", b"=ED=A0=80",
    b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"name*0*=utf-8''%ED%A0%80", b"name*=x'y'z", b"jane@example.net", b"hub@example.org",
    b"<hub.0123456789abcdef0123456789abcdef@example.org>", b"On Sat, 21 Nov 2026, Hub wrote:\r\n> x", b"-- \r\n", b"STOP",
    b"<p>", b"<div style='", b"display:none", b"font-size:", b"color:#fff", b"background:", b"rgb(", b"%)", b"'>", b"</div>",
    b"<style>", b"@media screen{", b".a{color:", b"}", b"</style>", b"<table>", b"<html>", b"<body bgcolor=", b"<meta charset=", b"<!--",
    b"Mon, 99 Foo 99999 99:99:99 +9999999", b"Sat, 21 Nov 2026 10:00:00 +0000", b"0", b"9999999999999999999999",
]  # fmt: skip
anything = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=12)), max_size=50).map(b"".join)


@pytest.fixture(autouse=True, scope="module")
def _everything_is_loaded() -> None:
    for kind in (b"plain", b"html"):
        reading.read(HEAD + b"Content-Type: text/" + kind + b"\r\n\r\n<p>How?\xe4</p>", JOB)


def _read(raw: bytes) -> Any:
    with contextlib.suppress(reading.UnreadableMailError):
        return reading.read(raw, JOB)


def _read_quickly(raw: bytes) -> None:
    fields = soon(lambda: _read(raw))
    if fields is not None:
        # As it comes through the pipe of the parsing process.
        mail = ParsedMail.model_validate(json.loads(json.dumps(fields)))
        mail.model_dump_json()
        assert len(mail.references) <= 20
        assert "\n" not in mail.subject + mail.sender + mail.sender_name + mail.message_id


@given(anything)
@example(b"")
@example(b"\r\n" * 10_000)
@tried(400)
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """No other exception than the refusal, and never more than a second."""
    _read_quickly(raw)


@given(
    anything,
    st.sampled_from([b"", b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: text/html\r\n"]),
)
@tried(400)
def test_any_body_under_a_good_head_is_read_or_refused(body: bytes, content_type: bytes) -> None:
    """Deeper into the mail than garbage alone comes."""
    _read_quickly(HEAD + content_type + b"\r\n" + body)


@given(st.text(max_size=400), st.sampled_from(["", "<style>", "<p style='", "<table bgcolor=", "<!--"]))
@tried(300)
def test_any_html_is_text(text: str, begin: str) -> None:
    """Visible and quoted text, whatever the markup."""
    visible, history = html.text_of(begin + text)

    assert isinstance(visible + history, str)


@given(
    st.lists(
        st.sampled_from(
            [
                "> ",
                ">",
                "\n",
                "On x wrote:",
                "From: a\n",
                "Sent: b\n",
                "-----",
                "____",
                "--",
                " ",
                "Best regards",
                "a?",
            ]
        ),
        max_size=80,
    )
)
@tried(300)
def test_any_quotation_is_split(pieces: list[str]) -> None:
    """The splitting of quotations is quick and makes nothing up."""
    fresh, quoted = soon(lambda: quotes.split("".join(pieces)))

    assert len(fresh) + len(quoted) <= 2 * len("".join(pieces)) + 10


@pytest.mark.parametrize(
    "body",
    [
        b"> " * 100_000,
        b"\r\n" * 100_000,
        b"a " * 100_000,
        b"From: x\r\nSent: y\r\n\r\n" * 4_000,
        b"On x, y wrote:\r\n" * 5_000,
        b"-- \r\n" * 20_000,
        b"_" * 200_000,
        b"Sent from my " * 10_000,
        "\u0301".encode() * 100_000,
    ],
    ids=["quotes", "breaks", "words", "heads", "attributions", "signatures", "rules", "phones", "accents"],
)
def test_long_repetitions_take_no_time(body: bytes) -> None:
    """What is slow by its nature is cut before."""
    soon(lambda: reading.read(HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + body, JOB))
