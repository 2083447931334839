"""Sections of installed documentation as documents of their own, without the headings that are asked.

Each section becomes an HTML page: title of its page, the headings above its own, and its text with lists and code as
they stand. Where a package is not installed, it is fetched into a folder and unpacked there.
"""

import html
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from benchmarks.retrieving.corpora import MIN_WORDS, Source

_HEADINGS = "h1, h2, h3, h4, h5, h6"
_NO_TEXT = (
    "script, style, nav, .navheader, .navfooter, .sphinxsidebar, .related, .headerlink, .toc, .index, #index"
)
_NUMBERING = re.compile(r"^(?:Chapter )?\d+(?:\.\d+)*\.?\s+(?=\S)")
_LEAST_HEADING_WORDS = 3
_POD_PARTS = frozenset({"NAME", "VERSION", "DESCRIPTION", "AUTHOR AND COPYRIGHT"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentedSection:
    """What stands under one heading."""

    location: str
    """Path of its page below the folder of the corpus; so the hub names it as a source."""
    question: str
    """Its heading; empty where another section has the same, or it says fewer than three words."""
    page: str
    """HTML, without the heading."""
    seen: str
    """What a reader sees of it: the page's title on the first line, then the text."""


def sections_of(source: Source, cache: Path) -> list[DocumentedSection]:
    """Read a corpus, fetching its package into `cache` where it is not installed.

    Raises: FileNotFoundError: the package cannot be had.
    """
    # Packages link to the pages of others.
    pages = sorted({page.resolve() for page in _root_of(source, cache).glob(source.pattern)})
    cut = [
        (f"{page.stem}/{number:03}.html", own, markup)
        for page in pages
        for number, (own, markup) in enumerate(_cut(_html_of(page)))
    ]
    times = Counter(own.lower() for _, own, _ in cut)
    return [
        DocumentedSection(
            location=location,
            question=own if times[own.lower()] == 1 and len(own.split()) >= _LEAST_HEADING_WORDS else "",
            page=markup,
            seen=seen,
        )
        for location, own, markup in cut
        # As in the benchmark of retrieval: fewer words are a pointer to other sections.
        if len((seen := _seen(markup)).partition("\n")[2].split()) >= MIN_WORDS
    ]


def write_pages(sections: Sequence[DocumentedSection], folder: Path) -> None:
    """Write each section as a file that can be taken in."""
    for section in sections:
        path = folder / section.location
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(section.page, "utf-8")


def _root_of(source: Source, cache: Path) -> Path:
    unpacked = cache / source.package
    for root in (Path("/"), unpacked):
        if next(root.glob(source.pattern), None):
            return root
    if not shutil.which("apt-get"):
        raise FileNotFoundError(
            f"the package {source.package} is not installed, and there is no apt-get to fetch it"
        )
    unpacked.mkdir(parents=True, exist_ok=True)
    fetched = subprocess.run(
        ["apt-get", "download", source.package], cwd=unpacked, capture_output=True, text=True, check=False
    )
    for archive in unpacked.glob("*.deb"):
        subprocess.run(["dpkg", "-x", archive, unpacked], check=True)
        archive.unlink()
    if not next(unpacked.glob(source.pattern), None):
        raise FileNotFoundError(f"the package {source.package} cannot be fetched: {fetched.stderr.strip()}")
    return unpacked


def _html_of(page: Path) -> str:
    if page.suffix != ".pod":
        return page.read_text("utf-8", "replace")
    with tempfile.TemporaryDirectory() as folder:
        command = ["pod2html", f"--infile={page}", f"--cachedir={folder}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _cut(markup: str) -> Iterator[tuple[str, str]]:
    """Give the heading and the page of each section, in the order of the page."""
    tree = LexborHTMLParser(markup)
    for node in tree.css(_NO_TEXT):
        node.decompose()
    title, path = "", list[tuple[int, str]]()
    for heading in tree.css(_HEADINGS):
        level = int((heading.tag or "h1")[1])
        own = _NUMBERING.sub("", " ".join(heading.text().replace("¶", "").split()))
        path = [(above, name) for above, name in path if above < level]
        body = "".join(node.html or "" for node in _below(heading))
        if title and own not in _POD_PARTS:
            yield (
                own,
                _page(title, [name for _, name in path if name != title and name not in _POD_PARTS], body),
            )
        title = title or (_title_of(tree) if own in _POD_PARTS else own)
        path.append((level, own))


def _title_of(tree: LexborHTMLParser) -> str:
    named = tree.css_first("title")
    return named.text(strip=True) if named else ""


def _below(heading: LexborNode) -> Iterator[LexborNode]:
    """Give what follows a heading, up to the next one or the next part that has one."""
    start = heading
    # DocBook wraps a heading into blocks of its own.
    while start.parent is not None and not start.next and start.parent.tag == "div":
        start = start.parent
    following = start.next
    while following is not None and not _has_heading(following):
        yield following
        following = following.next


def _has_heading(node: LexborNode) -> bool:
    return node.tag in _HEADINGS.split(", ") or node.css_first(_HEADINGS) is not None


def _page(title: str, above: Sequence[str], body: str) -> str:
    name = html.escape(title)
    headings = "".join(f"<h{level}>{html.escape(text)}</h{level}>" for level, text in enumerate(above, 2))
    return f"<html><head><title>{name}</title></head><body><article><h1>{name}</h1>{headings}{body}</article></body></html>"


def _seen(markup: str) -> str:
    tree = LexborHTMLParser(markup)
    title = _title_of(tree)
    for node in tree.css("h1, title"):
        node.decompose()
    return f"{title}\n{tree.body.text() if tree.body else ''}"
