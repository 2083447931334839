"""What becomes of files, well written and hostile ones."""

import json
from pathlib import Path

import pytest

from hub.documents import pdf
from hub.documents.parsing import clean, decode, load, parse, version_of
from hub.errors import DocumentUnreadable, KnowledgeError
from tests.knowledge import files


def text_of(data: bytes, name: str) -> str:
    """Give all text of a document."""
    return "\n".join(section.text for section in parse(data, name).sections)


def test_markdown_has_title_and_heading_paths() -> None:
    """The first heading is the title; deeper ones form the paths."""
    data = b"# Guide\n\nIntro.\n\n## Mail\n\n### IMAP `idle`\n\nWaits.\n\nChat\n----\n\nTalks.\n"

    document = parse(data, "guide.md")

    assert document.title == "Guide"
    assert [(section.heading, section.text) for section in document.sections] == [
        ("", "Intro."),
        ("Mail > IMAP idle", "Waits."),
        ("Chat", "Talks."),
    ]
    assert document.version == version_of(data)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("What is \\_\\_init\\_\\_?", "What is __init__?"),
        ("`__init__` and `a\\_b`", "__init__ and a\\_b"),
        ("**Bold**, *leaning* and _both_", "Bold, leaning and both"),
        ("*args and **kwargs", "*args and **kwargs"),
        ("foo**bar** and **Bold**text", "foo**bar** and **Bold**text"),
        ("\\`no code\\` in ``a`b``", "`no code` in a`b"),
        ("snake_case_names and 2 * 3 * 4", "snake_case_names and 2 * 3 * 4"),
        ("The range \\[0, 1) of [random](random.md)", "The range [0, 1) of random"),
    ],
)
def test_a_heading_is_read_without_its_marks(written: str, read: str) -> None:
    """What was kept from being a mark is what it was, and so is all in code."""
    [section] = parse(f"# Guide\n\n## {written}\n\nText.\n".encode(), "guide.md").sections

    assert section.heading == read


def test_headings_in_code_are_code() -> None:
    """A comment in a shell example is no heading."""
    document = parse(b"# Setup\n\n```sh\n# install\nmake\n~~~\n## more\n```\n\nDone.\n", "setup.md")

    assert [section.heading for section in document.sections] == [""]
    assert "# install\nmake" in document.sections[0].text


def test_code_within_a_sentence_stays_there() -> None:
    """A page's source may break its line; what follows keeps its headings, and comments in code are none."""
    page = (
        "<article><h1>Rules</h1><h2>Names</h2><p>One may write <code><span>rules.set(name,</span>\n<span>value)"
        "</span></code> here.</p><h2>Blocks</h2><pre><code># a comment\nrun()</code></pre><h2>More</h2><p>That is all"
        " there is to say about them, and it is enough.</p></article>"
    )

    sections = parse(page.encode(), "rules.html").sections

    assert [section.heading for section in sections] == ["Names", "Blocks", "More"]
    assert "write `rules.set(name, value)` here." in sections[0].text
    assert sections[1].text == "```\n# a comment\nrun()\n```"


def test_links_to_headings_are_no_part_of_them() -> None:
    """Pages of documentation put a mark behind each; other links in headings are words."""
    page = (
        "<article><h1>Rules<a class='headerlink' href='#r'>¶</a></h1><h2><a href='#n'>#</a>Names and <a href='/v'>values</a>"
        "</h2><p>There are rules for names, and there are others for their values.</p></article>"
    )

    document = parse(page.encode(), "rules.html")

    assert (document.title, document.sections[0].heading) == ("Rules", "Names and values")


def test_front_matter_gives_the_title() -> None:
    """Front matter is read for its title and is no text."""
    document = parse(b"---\ntitle: 'Opening hours'\ndraft: true\n---\n\nNine to five.\n", "x.md")

    assert (document.title, document.sections[0].text) == ("Opening hours", "Nine to five.")


def test_file_without_title_is_called_by_its_name() -> None:
    """The stem is the title of last resort."""
    assert parse(b"Just words.", "my notes.txt").title == "my notes"


def test_page_is_read_as_a_visitor_reads_it() -> None:
    """Scripts, styles, navigation and hidden elements of a page are not text."""
    page = (
        "<title>Menu</title><style>p{}</style><nav>Home Shop</nav><main><h1>Menu</h1><h2>Soups</h2>"
        "<p>Tomato soup with basil is served on Tuesdays and costs four euros for a bowl.</p>"
        "<p hidden>hidden one</p><div aria-hidden=true>hidden two</div><p style='display: none'>hidden three</p>"
        "<script>evil()</script></main><footer>Imprint</footer>"
    )

    text = text_of(page.encode(), "menu.html")

    assert "Tomato soup" in text
    assert not any(word in text for word in ("hidden", "evil", "p{}"))


def test_page_of_few_words_is_read() -> None:
    """A page too short to have an article is taken whole."""
    assert text_of(b"<p>Closed today.</p>", "a.html") == "Closed today."


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("Größe".encode(), "Größe"),
        ("\ufeffGröße".encode(), "Größe"),
        ("Größe".encode("utf-16"), "Größe"),
        ("<meta charset='windows-1251'>Привет".encode("cp1251"), "Привет"),
        (
            "Die Größe der Straße beträgt fünf Meter.".encode("cp1252"),
            "Die Größe der Straße beträgt fünf Meter.",
        ),
        (b"<meta charset='no-such'>abc", "abc"),
        (b"broken \xff\xfe bytes", "broken"),
    ],
)
def test_text_of_any_encoding_is_read(data: bytes, expected: str) -> None:
    """Byte order mark, UTF-8, declaration and guess, in this order."""
    assert expected in decode(data)


def test_invisible_characters_are_taken_out() -> None:
    """Control characters, tags, directions and zero-width characters carry no hidden text."""
    hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "obey")

    assert clean(f"a\x00b\x1b[31mc\u202ed\u200be{hidden}f\r\ng\u00adh\ud800") == "ab[31mcdef\ngh"


def test_pdf_has_its_title_and_a_section_for_each_page() -> None:
    """The text layer is read page by page."""
    document = parse(files.pdf("First line", "second line", title="Manual"), "m.pdf")

    assert document.title == "Manual"
    assert document.sections[0].heading == "page 1"
    assert document.sections[0].text == "First line\nsecond line"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "empty.md"),
        (b"  \n\t ", "blank.txt"),
        (b"---\n***\n", "rules.md"),
        (b"\x7fELF\x00\x00\x01", "binary.txt"),
        (b"%PDF-1.4 nonsense", "broken.pdf"),
        (files.pdf("cut")[:300], "cut.pdf"),
        (files.pdf(""), "scan.pdf"),
        (b"<script>only()</script>", "script.html"),
        (b"MZ", "program.exe"),
        (b"words", "noname"),
    ],
)
def test_file_without_text_is_refused_with_a_reason(data: bytes, name: str) -> None:
    """What holds no readable text is an error of that file."""
    with pytest.raises(KnowledgeError) as refused:
        parse(data, name)

    assert str(refused.value)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"word " * 400_000, "line.txt"),
        (b"#" * 500_000 + b" text", "marks.md"),
        (b"[" * 200_000 + b"text", "brackets.md"),
        (b"<div>" * 50_000 + b"deep text" + b"</div>" * 50_000, "deep.html"),
        (b"<p title='" + b"a" * 500_000 + b"'>text</p>", "attribute.html"),
        (b"\n" * 500_000 + b"text", "lines.md"),
        (b"`" * 300_000 + b"text", "ticks.md"),
        (b"<!--" * 100_000 + b"text", "comments.html"),
    ],
)
def test_hostile_file_is_read_or_refused_in_time(data: bytes, name: str) -> None:
    """Size and nesting cost seconds at most, and end nothing."""
    try:
        parse(data, name)
    except KnowledgeError:
        return


def test_pdf_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reader's process is killed at its deadline, and a crash of it is an error of the file."""
    slow = tmp_path / "slow.py"
    slow.write_text("import signal; signal.pause()")
    crash = tmp_path / "crash.py"
    crash.write_text("import os; os.abort()")

    monkeypatch.setattr(pdf, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(pdf, "WORKER", slow)
    with pytest.raises(KnowledgeError, match="longer"):
        parse(b"%PDF-1.4", "slow.pdf")
    monkeypatch.setattr(pdf, "TIMEOUT_S", 30)
    monkeypatch.setattr(pdf, "WORKER", crash)
    with pytest.raises(KnowledgeError, match="ended with -6"):
        parse(b"%PDF-1.4", "crash.pdf")


def test_pdf_reader_sees_no_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The process that reads hostile files has an empty environment."""
    worker = tmp_path / "env.py"
    worker.write_text(
        "import json, os; print(json.dumps({'title': '', 'pages': [' '.join(['names', *os.environ])]}))"
    )
    monkeypatch.setattr(pdf, "WORKER", worker)
    monkeypatch.setenv("HUBBUB_TELEGRAM__TOKEN", "secret")

    _, sections = pdf.read_pdf(b"%PDF", is_isolated=False)

    assert "HUBBUB" not in json.dumps([section.text for section in sections])


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    """Folders, missing files and files over the limit are errors with a reason."""
    (tmp_path / "big.txt").write_bytes(b"x" * 11)

    for path, reason in (
        (tmp_path, "not a file"),
        (tmp_path / "none", "not a file"),
        (tmp_path / "big.txt", "larger"),
    ):
        with pytest.raises(KnowledgeError, match=reason):
            load(path, 10)
    assert load(tmp_path / "big.txt", 11) == b"x" * 11


def test_elements_without_an_end_are_not_nested() -> None:
    """A list of which no item is closed is as deep as any other."""
    items = "".join(f"<li>Item {number}" for number in range(20_000))

    assert "Item 19999" in text_of(f"<ul>{items}</ul>".encode(), "list.html")


def test_what_is_nested_too_deeply_is_refused_at_once() -> None:
    """The parser would take minutes for it."""
    with pytest.raises(DocumentUnreadable, match="nested too deeply"):
        text_of(b"<div>" * 200_000 + b"text", "deep.html")
