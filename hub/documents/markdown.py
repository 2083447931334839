"""Cuts Markdown at its headings, so that every piece of text knows under which headings it stands."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_HEADING_CHARS = 300
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.{0,10000}?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_HEADING = re.compile(r"^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_UNDERLINE = re.compile(r"^ {0,3}(=+|-{2,})[ \t]*$")
_CODE_SPAN = re.compile(r"(?<![`\\])(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_EMPHASIS = re.compile(r"(?<![\w\\*_])([*_]{1,3})(?=[^\s*_])(.+?)(?<=[^\s\\*_])\1(?![\w*_])")
_ESCAPE = re.compile(r"\\([!-/:-@\[\]-`{-~])")
_LINK = re.compile(r"(?<!\\)!?\[([^\[\]\n]*)\]\([^)\n]*\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A stretch of text under one heading."""

    heading: str
    """Heading path, outermost first, joined by ` > `; without the document's title."""
    text: str


def read_markdown(text: str) -> tuple[str, list[Section]]:
    """Give the title and the sections of a Markdown text.

    The title is the front matter's, or else the first heading of level 1, which the paths then leave out.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    title = ""
    if front := _FRONT_MATTER.match(text):
        text = text[front.end() :]
        if named := _TITLE.search(front[1]):
            title = named[1]
    sections: list[Section] = []
    path: list[tuple[int, str]] = []
    for level, heading, body in _split(_COMMENT.sub("", text).split("\n")):
        if level:
            path = [step for step in path if step[0] < level] + [(level, heading)]
        if level == 1 and heading and not title:
            title = heading
        steps = [name for _, name in path if name and name != title]
        sections.append(Section(heading=" > ".join(steps)[-MAX_HEADING_CHARS:], text="\n".join(body)))
    return title, sections


def _split(lines: list[str]) -> Iterator[tuple[int, str, list[str]]]:
    level, heading, body, fence = 0, "", list[str](), ""
    for line in lines:
        mark = _FENCE.match(line)
        if fence:
            # A fence ends at one of the same kind that is at least as long.
            if mark and mark[1].startswith(fence) and not line.strip(" \t`~"):
                fence = ""
        elif mark:
            fence = mark[1]
        elif found := _HEADING.match(line):
            yield level, heading, body
            level, heading, body = len(found[1]), _text_of(found[2] or ""), []
            continue
        elif (under := _UNDERLINE.match(line)) and body and _may_be_heading(body):
            above = body.pop()
            yield level, heading, body
            level, heading, body = 1 if under[1][0] == "=" else 2, _text_of(above), []
            continue
        body.append(line)
    yield level, heading, body


def _may_be_heading(body: list[str]) -> bool:
    # Only a paragraph of one line: what else stands above dashes is a table, a list or a rule.
    return bool(re.match(r"^ {0,3}[^\s>|*+#-]", body[-1])) and (len(body) == 1 or not body[-2].strip())


def _text_of(heading: str) -> str:
    """Return a heading as it is read: without links, and outside of code without marks."""
    heading, text, end = _LINK.sub(r"\1", heading[:MAX_HEADING_CHARS]), "", 0
    for code in _CODE_SPAN.finditer(heading):
        text += _without_marks(heading[end : code.start()]) + code[2]
        end = code.end()
    return (text + _without_marks(heading[end:])).strip()


def _without_marks(text: str) -> str:
    return _ESCAPE.sub(r"\1", _EMPHASIS.sub(r"\2", text))
