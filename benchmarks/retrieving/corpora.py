"""Labelled questions from installed documentation: a heading is the question, the section below it the answer.

The sections are searched without their own heading; page title and the headings above it stay, as context.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

MIN_WORDS = 12
"""A section of fewer words is a pointer to others and answers nothing."""
MAX_WORDS = 30_000
"""Of larger manuals every n-th page is taken, and of a single long page its beginning."""
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_NO_TEXT = "script, style, nav, table.navigation, .navheader, .navfooter, .sphinxsidebar, .related, .headerlink, \
.permalink, .toc, #toc, #toctitle, .contents, .shortcontents, .contents-heading, #footer, footer, .header, #top, #quickview"
_NUMBERING = re.compile(
    r"^(?:\(?\d+\)|(?:Chapter|Appendix)\s+(?:[A-Z]|\d+)(?:\.\d+)*\.?|[A-Z](?:\.\d+)+\.?|[A-Z]\.|\d+(?:\.\d+)*\.?)\s+(?=\S)"
)
_BLOCKS = frozenset(
    re.findall(r"\w+", "p div li dt dd pre blockquote tr table ul ol dl section h1 h2 h3 h4 h5 h6 br")
)
_POD_COMMAND = re.compile(r"^=(\w+)[ \t]*(.*)$")
_POD_CODE = re.compile(r"[A-Z]<+\s*(?:[^<>|]*\|)?([^<>]*?)\s*>+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The text under one heading, without the heading."""

    title: str
    """Of the page."""
    above: str
    """Headings above its own, outermost first, joined by ` > `."""
    own: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Sections and the questions that belong to some of them."""

    name: str
    parts: tuple[Part, ...]
    questions: tuple[tuple[str, int], ...]
    """Question, and position of the section that it heads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a corpus comes from."""

    name: str
    package: str
    pattern: str
    """Its pages, below the root of the file system."""
    term: str = ""
    """Elements that are headings beside h1 to h6."""


SOURCES = (
    Source(
        name="python-faq", package="python3.11-doc", pattern="usr/share/doc/python3.*/html/faq/[!i]*.html"
    ),
    Source(name="perl-faq", package="perl-doc", pattern="usr/share/perl/5.*/pod/perlfaq[1-9].pod"),
    Source(name="debian-faq", package="debian-faq", pattern="usr/share/doc/debian/FAQ/*.en.html"),
    Source(name="r-faq", package="r-doc-html", pattern="usr/share/R/doc/manual/R-*.html"),
    Source(
        name="git",
        package="git-doc",
        pattern="usr/share/doc/git-doc/{gitfaq,user-manual,git*tutorial*,giteveryday,gitworkflows,gitglossary,gitsubmodules}.html",
        term="dt.hdlist1",
    ),
    Source(name="sqlite", package="sqlite3-doc", pattern="usr/share/doc/sqlite3/[a-hj-z]*.html"),
    Source(
        name="developers",
        package="developers-reference",
        pattern="usr/share/developers-reference/developers-reference.html",
    ),
    Source(
        name="debian-reference", package="debian-reference-en", pattern="usr/share/debian-reference/*.en.html"
    ),
    Source(name="bash", package="bash-doc", pattern="usr/share/doc/bash/bashref.html"),
    Source(
        name="apache",
        package="apache2-doc",
        pattern="usr/share/doc/apache2-doc/manual/en/{howto,misc,ssl,vhosts,rewrite,.}/*.html",
    ),
    Source(
        name="postgresql", package="postgresql-doc-15", pattern="usr/share/doc/postgresql-doc-*/html/*.html"
    ),
)


def load(source: Source, root: Path = Path("/")) -> Corpus | None:
    """Read a corpus; None where its package is not installed."""
    pages = [page for pattern in _alternatives(source.pattern) for page in sorted(root.glob(pattern))]
    parts = [part for page in pages for part in _read(page, source)]
    # Whole pages, so that neighbours that tell of the same stay together and are hard to tell apart.
    step = -(-sum(map(_words, parts)) // MAX_WORDS)
    parts = [part for page in pages[::step] for part in _read(page, source)] if step > 1 else parts
    parts = list(dict.fromkeys(part for part in parts if _words(part) >= MIN_WORDS))
    sizes = itertools.accumulate(map(_words, parts))
    parts = [part for part, size in zip(parts, sizes, strict=True) if size <= MAX_WORDS + _words(part)]
    return _with_questions(source.name, parts) if parts else None


def _words(part: Part) -> int:
    return len(part.text.split())


def _with_questions(name: str, parts: Sequence[Part]) -> Corpus:
    times = Counter(part.own.lower() for part in parts)
    questions = tuple(
        (part.own, position)
        for position, part in enumerate(parts)
        # A heading that stands twice, or says two words, asks for no section in particular.
        if times[part.own.lower()] == 1 and len(part.own.split()) >= 3
    )
    return Corpus(name=name, parts=tuple(parts), questions=questions)


def _alternatives(pattern: str) -> list[str]:
    found = re.search(r"\{([^}]*)\}", pattern)
    if not found:
        return [pattern]
    return [pattern.replace(found[0], choice).replace("/./", "/") for choice in found[1].split(",")]


def _read(page: Path, source: Source) -> Iterator[Part]:
    text = page.read_text("utf-8", "replace")
    steps = _pod_steps(text) if page.suffix == ".pod" else _html_steps(text, source.term)
    title, path, body = "", list[tuple[int, str]](), list[str]()

    def part() -> Part | None:
        own = path[-1][1] if path else ""
        # The page's title is no context of the section that it heads: it would give the answer away.
        page_title = "" if own == title else title
        above = " > ".join(name for _, name in path[:-1] if name not in (title, "DESCRIPTION"))
        said = "\n".join(
            line for line in (" ".join(row.split()) for row in "".join(body).split("\n")) if line
        )
        return Part(title=page_title, above=above, own=own, text=said) if own else None

    for level, piece in steps:
        if not level:
            body.append(piece)
            continue
        if found := part():
            yield found
        heading = _NUMBERING.sub("", " ".join(piece.replace("¶", "").split()))
        title = title or (heading if heading != "NAME" else page.stem)
        path, body = [step for step in path if step[0] < level] + [(level, heading)], []
    if found := part():
        yield found


def _html_steps(html: str, term: str) -> Iterator[tuple[int, str]]:
    """Give headings with their level, and pieces of text with 0, in the order of the page."""
    tree = LexborHTMLParser(html)
    for node in tree.css(_NO_TEXT):
        node.decompose()
    terms = {node.mem_id for node in tree.css(term)} if term else set()
    if tree.body is not None:
        yield from _walk(tree.body, terms)


def _walk(node: LexborNode, terms: set[int]) -> Iterator[tuple[int, str]]:
    child = node.child
    while child is not None:
        tag = child.tag or ""
        if level := _HEADINGS.get(tag, 6 if child.mem_id in terms else 0):
            yield level, child.text()
        elif tag == "-text":
            yield (
                0,
                child.text()
                if tag == "-text" and node.tag == "pre"
                else (child.text() or "").replace("\n", " "),
            )
        elif not tag.startswith(("-", "!")):
            yield from _walk(child, terms)
            if tag in _BLOCKS:
                yield 0, "\n"
        child = child.next


def _pod_steps(text: str) -> Iterator[tuple[int, str]]:
    for paragraph in re.split(r"\n\s*\n", text):
        command = _POD_COMMAND.match(paragraph)
        if command and command[1].startswith("head"):
            yield int(command[1][4:]), _POD_CODE.sub(r"\1", paragraph.partition(" ")[2])
        elif not command:
            yield 0, _POD_CODE.sub(r"\1", paragraph) + "\n"
        elif command[1] == "item":
            yield 0, _POD_CODE.sub(r"\1", command[2]) + "\n"
