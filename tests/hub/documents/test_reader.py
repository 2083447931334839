"""Attached files become text in a process that may crash over them; what gives none is told by a word."""

import asyncio
import io
import os
import signal
import zipfile

import pytest

from hub.documents.reader import MAX_FILE_BYTES, MAX_TEXT_CHARS, WORKER, AttachmentReader
from hub.limited.process import LimitedProcess
from hub.messages import Attachment
from tests.knowledge import files

PDF = files.pdf("The library opens at nine.")


@pytest.fixture
async def reader() -> AttachmentReader:
    """A reader whose process ends with the test."""
    return AttachmentReader()


async def _read(reader: AttachmentReader, name: str, data: bytes, media_type: str = "") -> Attachment:
    try:
        return await reader.read(name, media_type, data)
    finally:
        await reader.close()


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("notes.txt", b"Opens at nine.", "Opens at nine."),
        ("notes.md", b"# Hours\n\n## Monday\n\nNine to five.\n", "Monday\n\nNine to five."),
        ("page.html", b"<title>x</title><p>Opens at nine.</p><script>evil()</script>", "Opens at nine."),
        ("tool.py", b"def opens() -> int:\n    return 9\n", "def opens() -> int:\n    return 9"),
        ("data.json", b'{"opens": 9}', '{"opens": 9}'),
        ("book.PDF", PDF, "The library opens at nine."),
    ],
)
async def test_what_people_attach_is_read(
    reader: AttachmentReader, name: str, data: bytes, expected: str
) -> None:
    """By the suffix of its name, whatever the case."""
    read = await _read(reader, name, data)

    assert (read.name, read.problem, read.size_bytes, read.is_cut) == (name, "", len(data), False)
    assert expected in read.text


async def test_a_name_without_a_suffix_leaves_the_word_to_the_media_type(reader: AttachmentReader) -> None:
    """As mail programs send it."""
    read = await _read(reader, "attachment", PDF, "application/pdf; name=x")

    assert (read.media_type, read.problem) == ("application/pdf", "")


def _zip(**entries: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return data.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("photo.jpg", b"\xff\xd8\xff\xe0", "unsupported"),
        ("no-suffix", b"text", "unsupported"),
        ("photo.txt", b"\x89PNG\r\n\x1a\n", "unsupported"),
        ("program.pdf", b"MZ\x90\x00", "unsupported"),
        ("page.pdf", b"<html>not a PDF</html>", "unsupported"),
        ("book.txt", PDF, "unsupported"),
        ("binary.csv", b"a\x00b", "unsupported"),
        ("broken.pdf", b"%PDF-1.4\nnothing follows", "damaged"),
        ("old.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "encrypted"),
        ("archive.docx", _zip(**{"a.txt": b"x"}), "unsupported"),
        ("bomb.docx", _zip(**{"[Content_Types].xml": b"0" * 60_000_000}), "too_large"),
        ("broken.docx", b"PK\x03\x04 and nothing more", "damaged"),
        ("empty.txt", b"", "empty"),
        ("blank.md", b" \n\t\n", "empty"),
        ("large.txt", b"x" * (MAX_FILE_BYTES + 1), "too_large"),
    ],
)
async def test_what_gives_no_text_is_told_by_a_word(
    reader: AttachmentReader, name: str, data: bytes, problem: str
) -> None:
    """Never by an error, and never as if nothing had come."""
    read = await _read(reader, name, data)

    assert (read.problem, read.text, read.size_bytes) == (problem, "", len(data))


async def test_the_end_of_a_long_file_is_left_away(reader: AttachmentReader) -> None:
    """What no context window holds is not carried along."""
    read = await _read(reader, "long.txt", b"word " * MAX_TEXT_CHARS)

    assert (len(read.text), read.is_cut, read.problem) == (MAX_TEXT_CHARS, True, "")


async def test_a_name_is_made_harmless(reader: AttachmentReader) -> None:
    """It is shown to people and to the model."""
    read = await _read(reader, "a\u202etxt.\nexe\x00" + "x" * 300 + ".txt", b"text")

    assert "\n" not in read.name
    assert "\u202e" not in read.name
    assert len(read.name) <= 100


async def test_a_process_that_is_killed_costs_no_file(reader: AttachmentReader) -> None:
    """A fresh one reads it."""
    process = LimitedProcess(WORKER)
    try:
        await process.ask(b"a.txt", b"", b"hello")
        assert process.process_id
        os.kill(process.process_id, signal.SIGSTOP)
        asking = asyncio.create_task(process.ask(b"b.txt", b"", b"hello"))
        await asyncio.sleep(0)
        os.kill(process.process_id, signal.SIGKILL)
        assert (await asking)["text"] == "hello"
        assert (await process.ask(b"c.txt", b"", b"hello"))["text"] == "hello"
    finally:
        await process.close()


async def test_a_file_that_takes_too_long_is_given_up() -> None:
    """The process is ended, not waited for."""
    reader = AttachmentReader(deadline_s=0.001)

    read = await _read(reader, "notes.txt", b"hello")

    assert read.problem == "too_large"
