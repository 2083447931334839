"""Reading documents in limited processes: real files, hostile files, several at once."""

import io
import threading
import time
import zipfile
from collections.abc import Iterator

import pytest

from hub.documents.parsing import DOCX
from hub.errors import DocumentUnreadable
from knowledge.embedder import Embedder
from knowledge.reading import LimitedReader
from knowledge.sources.base import Content
from tests.knowledge.files import docx, pdf


@pytest.fixture(scope="module")
def reader(embedder: Embedder) -> Iterator[LimitedReader]:
    """Two processes."""
    with LimitedReader(2, embedder.tokenizer_file, 40) as opened:
        yield opened


def test_documents_of_every_kind_are_read_and_cut(reader: LimitedReader) -> None:
    """PDF, Word, HTML, Markdown, text and code."""
    files = {
        "manual.pdf": (pdf("Change the oil.", title="Tractor"), "Tractor", ("page 1", "Change the oil.")),
        "note.docx": (docx("Feed it.", heading="Bread"), "Bread", ("", "Feed it.")),
        "page.html": (b"<title>T</title><p>Some words.</p>", "T", ("", "Some words.")),
        "guide.md": (b"# Guide\n\n## Mail\n\nSet it.", "Guide", ("Mail", "Set it.")),
        "plain.txt": (b"Plain words.", "plain", ("", "Plain words.")),
        "turn.py": (b"def turn() -> None: ...", "turn", ("turn", "def turn() -> None: ...")),
    }

    for name, (data, title, chunk) in files.items():
        document = reader.read(Content(data=data, name=name))

        assert (document.title, document.chunks) == (title, (chunk,)), name


def test_a_text_is_read_as_its_server_says(reader: LimitedReader) -> None:
    """Where its bytes are not UTF-8."""
    document = reader.read(Content(data="Привет мир".encode("koi8-r"), name="a.txt", charset="koi8-r"))

    assert document.chunks == (("", "Привет мир"),)


def _zip(**files: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.pdf", b"%PDF-1.7\n" + b"\xff" * 1_000),
        ("a.pdf", b"no PDF"),
        (
            "a.pdf",
            pdf("x").replace(b"/Count 1", b"/Count 999999999").replace(b"/Kids [3 0 R]", b"/Kids [2 0 R]"),
        ),
        ("a.docx", b"PK\x03\x04 broken"),
        ("a.docx", _zip(**{"[Content_Types].xml": b"0" * 60_000_000})),
        ("a.docx", _zip(**{"word/document.xml": b"<x/>"})),
        ("a.docx", docx("x").replace(b"PK\x01\x02", b"PK\x01\x03")),
        ("a.html", b"\x00" * 100),
        ("a.txt", b"\x7fELF" + b"\x00" * 100),
        ("a.exe", b"MZ"),
        ("a", b"text"),
        ("a.md", b""),
        ("a.md", "\u200b\u202e".encode() * 100),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_hostile_files_give_a_reason(reader: LimitedReader, name: str, data: bytes) -> None:
    """And the next one is read as ever."""
    with pytest.raises(DocumentUnreadable):
        reader.read(Content(data=data, name=name))

    assert reader.read(Content(data=b"Fine.", name="b.txt")).title == "b"


def test_media_type_is_told(reader: LimitedReader) -> None:
    """As for every document."""
    assert reader.read(Content(data=docx("Text."), name="a.docx")).media_type == DOCX


def test_many_threads_share_few_processes(reader: LimitedReader) -> None:
    """Each gets its own answer."""
    answers: dict[int, str] = {}

    def read(number: int) -> None:
        answers[number] = reader.read(Content(data=f"Text {number}.".encode(), name="a.md")).chunks[0][1]

    threads = [threading.Thread(target=read, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == {number: f"Text {number}." for number in range(12)}


def test_what_is_being_read_can_be_given_up(embedder: Embedder) -> None:
    """Whoever stops does not wait for a file that takes long."""
    problems: list[str] = []
    with LimitedReader(1, embedder.tokenizer_file, 40) as reader:
        reader.read(Content(data=b"Warm.", name="a.txt"))
        slow = Content(data=b"a b " * 5_000_000, name="a.txt")

        def read() -> None:
            with pytest.raises(DocumentUnreadable) as caught:
                reader.read(slow)
            problems.append(str(caught.value))

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        started = time.monotonic()
        reader.give_up()
        for thread in threads:
            thread.join()

    assert problems == ["was given up"] * 2
    assert time.monotonic() - started < 5
