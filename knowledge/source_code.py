"""Cuts source code where definitions begin, whatever the language: by their lines, without running a parser on it."""

import re
from collections.abc import Iterator

from hub.documents.markdown import Section

_MODIFIER = (
    r"(?:(?:export|default|declare|public|private|protected|internal|static|final|abstract|async|pub(?:\(\w+\))?|unsafe"
    r"|const|extern|virtual|override|sealed|partial|inline|local|data|open)[ \t]+)*"
)
_KEYWORD = (
    r"(?:class|def|function\*?|func|fn|fun|interface|struct|enum|trait|impl(?:<[^>]*>)?|module|namespace|type|record|object"
    r"|protocol|extension|sub|macro_rules!|create[ \t]+(?:or[ \t]+replace[ \t]+)?(?:table|view|function|procedure|trigger))"
)
_RECEIVER = r"(?:\([^()\n]{0,80}\)[ \t]*)?"
_DEFINITION = re.compile(
    rf"(?P<indent>[ \t]{{0,16}}){_MODIFIER}{_KEYWORD}[ \t]+{_RECEIVER}(?P<name>[A-Za-z_$][\w$.:]{{0,80}})",
    re.IGNORECASE,
)
_C_FUNCTION = re.compile(
    r"(?P<indent>)(?:[A-Za-z_][\w:<>,]{0,60}[ \t*&]+){1,4}(?P<name>~?[A-Za-z_][\w:]{0,80})[ \t]*\([^;{}]{0,200}[{,)]?[ \t]*$"
)
_C_STATEMENT = re.compile(
    r"(?:if|else|for|while|switch|return|case|do|goto|typedef|using|import|from|new|delete|throw)\b"
)
_ASSIGNED_FUNCTION = re.compile(
    r"(?P<indent>)(?:export[ \t]+)?(?:const|let|var)[ \t]+(?P<name>[A-Za-z_$][\w$]{0,80})[ \t]*=[ \t]*(?:async[ \t]*)?"
    r"(?:function\b|\([^()\n]{0,200}\)[ \t]*(?::[^=\n]{0,80})?=>|[A-Za-z_$][\w$]*[ \t]*=>)"
)
_ABOVE = re.compile(r"\s*(?:#|//|/\*|\*|--|@|\"\"\"|///|;|\[[\w(])")
"""Comments, decorators and attributes belong to what stands below them."""
_MAX_LINE_CHARS = 400
"""Longer lines are generated, and define nothing that a person asks for."""


def code_sections(text: str) -> Iterator[Section]:
    """Give the parts of a source file, each under the path of the definitions it lies in; together they are the text."""
    lines = text.split("\n")
    path: list[tuple[int, str]] = []
    begin = 0
    for number, line in enumerate(lines):
        found = _definition(line)
        if found is None:
            continue
        start = _with_comments(lines, number, begin)
        if start > begin:
            yield _section(path, lines[begin:start])
        indent, name = found
        path = [step for step in path if step[0] < indent] + [(indent, name)]
        begin = start
    yield _section(path, lines[begin:])


def _definition(line: str) -> tuple[int, str] | None:
    if len(line) > _MAX_LINE_CHARS:
        return None
    found = _DEFINITION.match(line) or _ASSIGNED_FUNCTION.match(line)
    if found is None and not _C_STATEMENT.match(line):
        found = _C_FUNCTION.match(line)
    if found is None:
        return None
    return len(found["indent"].expandtabs(4)), found["name"].rstrip(":.")


def _with_comments(lines: list[str], number: int, begin: int) -> int:
    while number > begin and lines[number - 1].strip() and _ABOVE.match(lines[number - 1]):
        number -= 1
    return number


def _section(path: list[tuple[int, str]], lines: list[str]) -> Section:
    return Section(heading=" > ".join(name for _, name in path)[-300:], text="\n".join(lines).strip("\n"))
