"""The process that parses mails: one mail after the other, and a mail that shakes it costs nothing but itself."""

from collections.abc import AsyncIterator

import pytest

from connectors.email.mail import ParseJob
from connectors.email.parser import MailParser, MailUnreadable

JOB = ParseJob(addresses=("hub@example.org",), own=("hub@example.org",))
GOOD = b"From: jane@example.net\r\nTo: hub@example.org\r\nMessage-ID: <a@b>\r\n\r\nHow do I begin?\r\n"

# Tables inside each other, 140,000 deep: far more work than the deadline of these tests allows.
SLOW = (
    b"From: jane@example.net\r\nTo: hub@example.org\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    + b"--b\r\nContent-Type: text/html\r\n\r\n"
    + b"<table>" * 140_000
)


@pytest.fixture
async def parser() -> AsyncIterator[MailParser]:
    """A parser whose process runs."""
    parser = MailParser()
    await parser.parse(GOOD, JOB)
    yield parser
    await parser.close()


async def test_mails_are_parsed_one_after_the_other(parser: MailParser) -> None:
    """Each answer belongs to its own mail."""
    mails = [await parser.parse(GOOD.replace(b"begin", word), JOB) for word in (b"end", b"stop")]

    assert [mail.text for mail in mails] == ["How do I end?", "How do I stop?"]


async def test_refused_mail_names_the_limit(parser: MailParser) -> None:
    """The reason goes into the quarantine."""
    bomb = GOOD.replace(
        b"\r\n\r\n", b"\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 300
    )

    with pytest.raises(MailUnreadable, match="too many parts"):
        await parser.parse(bomb, JOB)

    assert (await parser.parse(GOOD, JOB)).text == "How do I begin?"


async def test_slow_mail_is_killed(parser: MailParser) -> None:
    """A mail that keeps its process busy past the deadline costs that process, and nothing else."""
    # Short enough for any machine; the process has started by now.
    parser._process._deadline_s = 0.2
    with pytest.raises(MailUnreadable, match="longer than"):
        await parser.parse(SLOW, JOB)
    parser._process._deadline_s = 60

    assert (await parser.parse(GOOD, JOB)).text == "How do I begin?"
