"""The parsing process: what it survives, and what happens to it when it does not."""

import asyncio
import os
import sys

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


async def test_one_process_parses_many_mails() -> None:
    """The second mail does not wait for a process to start."""
    parser = MailParser()
    try:
        first = await parser.parse(GOOD, JOB)
        process = parser.process_id
        second = await parser.parse(GOOD.replace(b"begin", b"end"), JOB)

        assert (first.text, second.text) == ("How do I begin?", "How do I end?")
        assert parser.process_id == process
    finally:
        await parser.close()


async def test_process_is_replaced_after_its_share() -> None:
    """No process lives long enough to gather much."""
    parser = MailParser(mails_per_process=2)
    try:
        await parser.parse(GOOD, JOB)
        process = parser.process_id
        await parser.parse(GOOD, JOB)
        await parser.parse(GOOD, JOB)

        assert parser.process_id != process
    finally:
        await parser.close()


async def test_refused_mail_names_the_limit() -> None:
    """The reason goes into the quarantine."""
    parser = MailParser()
    bomb = GOOD.replace(
        b"\r\n\r\n", b"\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 300
    )
    try:
        with pytest.raises(MailUnreadable, match="too many parts"):
            await parser.parse(bomb, JOB)
        assert (await parser.parse(GOOD, JOB)).text == "How do I begin?"
    finally:
        await parser.close()


async def test_slow_mail_is_killed() -> None:
    """A mail that keeps its process busy past the deadline costs that process, and nothing else."""
    parser = MailParser(deadline_s=30.0)
    try:
        await parser.parse(GOOD, JOB)
        process = parser.process_id
        assert process is not None
        # Short enough for any machine; the process has started by now.
        parser._deadline_s = 0.2
        with pytest.raises(MailUnreadable, match="longer than"):
            await parser.parse(SLOW, JOB)
        parser._deadline_s = 30.0

        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
        assert (await parser.parse(GOOD, JOB)).text == "How do I begin?"
    finally:
        await parser.close()


async def test_memory_is_limited() -> None:
    """The process cannot take more memory than it is given, however large the mail says it is."""
    program = (
        "import resource; from connectors.email import parse; parse._limit_process(); "
        "assert resource.getrlimit(resource.RLIMIT_AS)[0] == parse.MEMORY_BYTES; bytearray(2 * parse.MEMORY_BYTES)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    _, errors = await process.communicate()

    assert b"MemoryError" in errors


async def test_cancelled_parse_leaves_no_answer_behind() -> None:
    """The next mail gets its own answer, not the one that nobody waited for."""
    parser = MailParser()
    try:
        await parser.parse(GOOD, JOB)
        waiting = asyncio.create_task(parser.parse(SLOW, JOB))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})

        assert (await parser.parse(GOOD.replace(b"begin", b"end"), JOB)).text == "How do I end?"
    finally:
        await parser.close()


async def test_secrets_stay_out_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that reads hostile bytes holds no password."""
    monkeypatch.setenv("HUBBUB_TELEGRAM__TOKEN", "secret")
    parser = MailParser()
    try:
        await parser.parse(GOOD, JOB)
        environment = await asyncio.to_thread(_environment, parser.process_id)

        assert b"HUBBUB" not in environment
    finally:
        await parser.close()


def _environment(process: int | None) -> bytes:
    with open(f"/proc/{process}/environ", "rb") as file:  # noqa: PTH123 - not a real file
        return file.read()
