"""Files nobody thought of: real ones with other bytes in them are read or refused, soon, and nothing else happens."""

from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.documents.parsing import parse
from hub.documents.reader import AttachmentReader
from hub.errors import DocumentUnreadable
from tests.fuzzing import soon, tried, tried_on_one
from tests.hub.documents.docx_file import docx
from tests.knowledge import files

MARKDOWN = b"---\ntitle: Ferry\n---\n# Ferry\n\nThe *ferry* leaves [daily](x.md).\n\n- one\n  - two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\n# no heading\n```\n"
HTML = b"<!doctype html><meta charset=utf-8><title>Ferry</title><style>p{}</style><h1>Ferry</h1><p>It leaves <b>daily</b>.<table><tr><td>1</table><ul><li>a</ul><script>x()</script>"
FILES: dict[str, bytes] = {
    "a.md": MARKDOWN,
    "a.html": HTML,
    "a.txt": "Die Fähre fährt täglich.\r\n".encode("utf-16"),
    "b.txt": "Die Fähre fährt täglich.\n".encode("latin-1"),
    "a.py": b"def leaves() -> str:\n    return 'daily'\n",
    "a.json": b'{"leaves": "daily"}',
    "a.docx": docx("# Ferry", "It leaves daily.", "| Day | Time |"),
    "a.pdf": files.pdf("The ferry leaves daily."),
}
PIECES = [
    b"<", b">", b"</", b"<table>", b"<!--", b"&#x110000;", b"&#0;", b"<?xml", b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"charset=utf-7",
    b"charset=unicode_escape", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\xf3\xa0\x81\x81", b"`" * 50, b"> " * 50, b"[" * 50, b"(" * 50,
    b"| " * 50, b"# ", b"---\n", b"PK\x03\x04", b"PK\x05\x06", b"%PDF-1.7", b"obj", b"endobj", b"stream\n", b"/Length 999999999", b"/Kids",
    b"/Count 999999999", b"/FlateDecode", b"1 0 R", b"<<", b">>", b"\xff\xff\xff\xff", b"9" * 20, b"-1",
]  # fmt: skip
CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 30),
        st.sampled_from(PIECES) | st.binary(max_size=8),
    ),
    max_size=6,
)


def _changed(data: bytes, changes: Sequence[tuple[float, int, bytes]]) -> bytes:
    """Put other bytes in the place of some."""
    for at, size, other in changes:
        place = int(at * len(data))
        data = data[:place] + other + data[place + size :]
    return data


@pytest.fixture(autouse=True, scope="module")
def _everything_is_loaded() -> None:
    for name, data in FILES.items():
        parse(data, name, is_isolated=True)


def _parsed(data: bytes, name: str, charset: str) -> None:
    try:
        document = parse(data, name, is_isolated=True, charset=charset)
    except DocumentUnreadable:
        return
    text = "".join((document.title, *(part.heading + part.text for part in document.sections)))
    assert document.sections
    # It can be stored, sent and shown: no lone surrogates, nothing that nobody sees.
    text.encode()
    assert not any(char in text for char in "\0\x1b\u202e\u200b\U000e0041")


@given(
    name=st.sampled_from(sorted(FILES)),
    changes=CHANGES,
    charset=st.sampled_from(
        ["", "utf-8", "utf-7", "hz", "idna", "unicode_escape", "rot13", "x" * 50, "utf-16"]
    ),
)
@tried(150)
def test_every_file_is_read_or_refused(
    name: str, changes: Sequence[tuple[float, int, bytes]], charset: str
) -> None:
    """By one error, in a second, whatever its name and its sender say of it."""
    data = _changed(FILES[name], changes)

    soon(lambda: _parsed(data, name, charset))


@given(name=st.sampled_from(sorted(FILES)), data=st.binary(max_size=200))
@tried(100)
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    """Under each name."""
    _parsed(data, name, "")


@pytest.fixture
async def reader() -> AsyncIterator[AttachmentReader]:
    """What reads attached files, in a process of its own."""
    made = AttachmentReader(processes=1)
    yield made
    await made.close()


@given(name=st.sampled_from(["a.docx", "a.pdf", "a.html"]), changes=CHANGES)
@tried_on_one(3)
async def test_the_process_for_it_reads_the_next_file(
    reader: AttachmentReader, name: str, changes: Sequence[tuple[float, int, bytes]]
) -> None:
    """Whether it has survived the one before or not."""
    await reader.read(name, "", _changed(FILES[name], changes))

    after = await reader.read("a.txt", "text/plain", b"The ferry leaves daily.")
    assert (after.text, after.problem) == ("The ferry leaves daily.", "")
