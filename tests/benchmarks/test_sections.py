"""Sections of documentation, cut from pages as Sphinx and DocBook write them."""

from pathlib import Path

import pytest

from benchmarks.answering.sections import sections_of, write_pages
from benchmarks.retrieving.corpora import Source

ANSWER = "One two three four five six seven eight nine ten eleven twelve thirteen."
SPHINX = f"""<html><body><section><h1>Tools</h1><section><h2>Basics<a class="headerlink">¶</a></h2>
<section><h3>How do I dig a hole?<a class="headerlink">¶</a></h3><p>{ANSWER}</p><pre>dig()</pre></section>
<section><h3>How do I fill it?</h3><p>{ANSWER} Fill.</p></section></section></section></body></html>"""
DOCBOOK = f"""<html><body><div class="chapter"><div class="titlepage"><h1>Chapter 1. Tools</h1></div>
<div class="section"><div class="titlepage"><div><div><h2>1.1. How do I dig a hole?</h2></div></div></div><p>{ANSWER}</p></div>
</div></body></html>"""


@pytest.mark.parametrize(("page", "count"), [(SPHINX, 2), (DOCBOOK, 1)])
def test_a_section_lacks_its_own_heading_alone(page: str, count: int, tmp_path: Path) -> None:
    """So that no question finds its own words."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "tools.html").write_text(page, "utf-8")
    source = Source(name="tools", package="package", pattern="tools.html")

    sections = sections_of(source, tmp_path)
    write_pages(sections, tmp_path / "pages")

    assert len(sections) == count
    assert sections[0].question == "How do I dig a hole?"
    written = (tmp_path / "pages" / sections[0].location).read_text("utf-8")
    assert "<title>Tools</title>" in written
    assert ANSWER in written
    assert "hole" not in written
    assert "Fill" not in written
    assert ("Basics" in written) is (page is SPHINX)
    assert ("<pre>dig()</pre>" in written) is (page is SPHINX)
