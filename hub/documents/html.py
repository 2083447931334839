"""Reads the text that a visitor of a web page would read: no scripts, no navigation, nothing hidden."""

import re
from typing import TYPE_CHECKING

from hub.documents.markdown import Section, read_markdown
from hub.errors import DocumentUnreadable

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

HIDDEN = (
    "script, style, noscript, template, iframe, object, svg, head > meta, [hidden], [aria-hidden=true],"
    " [style*='display:none'], [style*='display: none'], [style*='visibility:hidden'], [style*='font-size:0']"
)
HEADING_LINKS = ", ".join(f"h{level} a" for level in range(1, 7))
LINK_MARKS = frozenset({"", "¶", "#", "§", "🔗"})
"""What pages of documentation put behind a heading, as a link to it."""
FRAME = "nav, footer, aside, form, button"
MAX_DEPTH = 5_000
"""Elements within each other; the parser takes time with the square of it, and pages of people have a few dozen."""
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)")
_END_BY_THEMSELVES = frozenset(
    re.findall(
        r"\w+",
        "area base br col embed hr img input link meta source track wbr p li dt dd tr td th thead tbody tfoot option optgroup rp rt",
    )
)
"""Elements that need no end tag, and lie within others of their name in no page, however many there are."""
MAX_EXTRACTED_CHARS = 2_000_000
"""Pages longer than this are taken whole: finding the article in them would take too long."""


def read_html(text: str) -> tuple[str, list[Section]]:
    """Give the title and the sections of a web page.

    Raises: DocumentUnreadable: it cannot be parsed.
    """
    from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415 - only those who read HTML pay for it

    if _is_deeper_than(MAX_DEPTH, text):
        raise DocumentUnreadable("is nested too deeply to be read")
    try:
        page = LexborHTMLParser(text)
        for node in page.css(HIDDEN):
            node.decompose()
        for node in page.css(HEADING_LINKS):
            if node.text(strip=True) in LINK_MARKS:
                node.decompose()
        for node in page.css("code"):
            if not _is_within(node, "pre"):
                _join_lines(node)
        named = page.css_first("title")
        title = named.text(strip=True) if named else ""
        whole = page.html or ""
        article = _article(whole) if len(whole) <= MAX_EXTRACTED_CHARS else ""
        for node in page.css(FRAME):
            node.decompose()
        everything = page.body.text(separator="\n", strip=True) if page.body else ""
    except (ValueError, RuntimeError, RecursionError) as error:
        raise DocumentUnreadable(f"is not readable HTML: {error}") from error
    # A page of few words has no article to find; then all of its text counts.
    headline, sections = read_markdown(article if len(article) * 3 >= len(everything) else everything)
    return title or headline, sections


def _is_within(node: "LexborNode", tag: str) -> bool:
    above = node.parent
    while above is not None and above.tag != tag:
        above = above.parent
    return above is not None


def _join_lines(code: "LexborNode") -> None:
    """Put code within a sentence on one line, as a browser shows it; the extraction takes what has several for a block."""
    texts = [node for node in code.traverse(include_text=True) if node.tag == "-text"]
    for node in texts:
        if "\n" in (text := node.text(deep=False)):
            node.replace_with(text.replace("\n", " "))


def _is_deeper_than(most: int, text: str) -> bool:
    depth = 0
    for end, name in _TAG.findall(text):
        if name.lower() not in _END_BY_THEMSELVES:
            depth = max(0, depth - 1) if end else depth + 1
        if depth > most:
            return True
    return False


def _article(html: str) -> str:
    import trafilatura  # noqa: PLC0415 - takes a third of a second

    found = trafilatura.extract(
        html, output_format="markdown", include_links=False, include_comments=False, favor_recall=True
    )
    return found or ""
