"""Word documents: what is written in them, without what could do harm."""

from hub.documents.parsing import parse
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


def test_what_looks_like_markup_stays_text() -> None:
    """R05, R15: it was typed as text and is read as text."""
    document = parse(
        docx("&lt;script&gt;evil()&lt;/script&gt; and ![x](http://evil.example/x.png)"), "x.docx"
    )

    assert document.sections[0].text == "<script>evil()</script> and ![x](http://evil.example/x.png)"
