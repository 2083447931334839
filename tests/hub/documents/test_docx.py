"""Word documents: what is written in them, without what could do harm."""

import io
import stat
import zipfile

import pytest
from docx import Document

from hub.documents.parsing import parse
from hub.errors import DocumentUnreadable
from tests.hub.documents.docx_file import docx


def test_headings_paragraphs_and_tables_are_read() -> None:
    """As they stand in the document."""
    document = parse(
        docx("# Hours", "The library opens at nine.", "| Day | Opens |", "| Monday | nine |"), "hours.docx"
    )

    text = "\n".join(section.text for section in document.sections)
    assert "The library opens at nine." in text
    assert "Monday" in text
    assert "nine" in text


def test_a_document_of_another_program_is_read() -> None:
    """Headings, lists, emphasis and tables by their styles, and what Markdown takes for marks as it was written."""
    written, file = Document(), io.BytesIO()
    written.add_heading("Handbook", 0)
    written.add_heading("Opening hours", 1)
    text = written.add_paragraph("The library opens at ")
    text.add_run("nine").bold = True
    text.add_run(".")
    written.add_heading("The file __init__.py", 2)
    written.add_paragraph("Copy it to the desk.", style="List Number")
    written.add_paragraph("Ask for the key.", style="List Number")
    table = written.add_table(rows=0, cols=2)
    for row in (("Day", "Opens"), ("Monday", "10:30")):
        for cell, value in zip(table.add_row().cells, row, strict=True):
            cell.text = value
    written.add_section()
    written.sections[0].header.paragraphs[0].text = "Not to be read"
    written.save(file)

    document = parse(file.getvalue(), "handbook.docx")

    headings = {section.heading: section.text for section in document.sections}
    assert document.title == "Handbook"
    assert "The library opens at **nine**." in headings["Opening hours"]
    under = headings["Opening hours > The file __init__.py"]
    assert "1. Copy it to the desk.\n2. Ask for the key." in under
    assert "| Monday | 10:30 |" in under
    assert "Not to be read" not in "".join(headings.values())


def test_what_looks_like_markup_stays_text() -> None:
    """R05, R15: it was typed as text and is read as text."""
    document = parse(
        docx("&lt;script&gt;evil()&lt;/script&gt; and ![x](http://evil.example/x.png)"), "x.docx"
    )

    assert document.sections[0].text == "<script>evil()</script> and ![x](http://evil.example/x.png)"


def _with(*entries: tuple[zipfile.ZipInfo | str, str]) -> bytes:
    """Write a document with more in it."""
    data = io.BytesIO(docx("The library opens at nine."))
    with zipfile.ZipFile(data, "a") as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return data.getvalue()


def _link(name: str) -> zipfile.ZipInfo:
    link = zipfile.ZipInfo(name)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return link


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([(_link("word/media/image1.png"), "/etc/passwd")], "damaged"),
        ([("../../etc/cron.d/x", "x")], "damaged"),
        ([("..\\..\\x", "x")], "damaged"),
        ([("/etc/cron.d/x", "x")], "damaged"),
        ([(f"word/{number}.xml", "") for number in range(10_001)], "too_large"),
        ([("word/media/image1.bin", "\0" * (51 << 20))], "too_large"),
    ],
    ids=["link", "path", "path of Windows", "absolute path", "many entries", "large entry"],
)
def test_what_no_program_writes_into_a_document_is_refused(
    entries: list[tuple[zipfile.ZipInfo | str, str]], problem: str
) -> None:
    """Although nothing of it would be unpacked or followed."""
    with pytest.raises(DocumentUnreadable) as refused:
        parse(_with(*entries), "x.docx")

    assert refused.value.problem == problem
