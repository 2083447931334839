"""Names that a piece of source code defines, by the ways in which common languages define them."""

import re

_NAME = r"(?P<name>[A-Za-z_$][\w$]*)"
_MODIFIERS = r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|pub(?:\([a-z]+\))?|unsafe|const|override|virtual|inline|extern|sealed|partial|open|data)\s+){0,5}"
_DEFINITIONS = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        rf"^[ \t]*(?:async[ \t]+)?def[ \t]+(?:self\.)?{_NAME}",
        rf"^[ \t]*{_MODIFIERS}(?:class|interface|trait|struct|enum|record|protocol|module|namespace|object|union)[ \t]+{_NAME}",
        rf"^[ \t]*{_MODIFIERS}(?:function\*?|fn|fun|func|sub|procedure)[ \t]+(?:\([^)\n]{{0,80}}\)[ \t]*)?{_NAME}",
        rf"^(?:export[ \t]+)?(?:const|let|var)[ \t]+{_NAME}[ \t]*=[ \t]*(?:async[ \t]*)?(?:function\b|\([^)\n]{{0,200}}\)[ \t]*=>|[\w$]+[ \t]*=>)",
        r"^(?P<name>[A-Z][A-Z0-9_]{2,})[ \t]*(?::[^=\n]{1,80})?=",
        rf"^#define[ \t]+{_NAME}",
        rf"^[ \t]*type[ \t]+{_NAME}[ \t]*(?:=|struct|interface|<)",
        rf"(?i:^[ \t]*create[ \t]+(?:or[ \t]+replace[ \t]+)?(?:table|view|function|procedure)[ \t]+(?:if[ \t]+not[ \t]+exists[ \t]+)?){_NAME}",
        rf"^(?!(?:return|else|new|throw|case|await|yield|delete|if|while|for|switch|do|try)\b)(?:[A-Za-z_][\w<>,:*&\[\] \t]{{0,80}}[ \t*&]){_NAME}[ \t]*\([^;{{}}\n]{{0,200}}\)[ \t]*(?:const[ \t]*)?\{{",
    )
)
_COMMON = frozenset(
    {"main", "init", "__init__", "new", "get", "set", "run", "test", "if", "for", "while", "switch", "return"}
)
_MOST = 64


def defined_in(text: str) -> list[str]:
    """Return the names that source code defines, in their order; those that every program has are left out."""
    found = [(match.start(), match["name"]) for pattern in _DEFINITIONS for match in pattern.finditer(text)]
    names = dict.fromkeys(name for _, name in sorted(found) if name not in _COMMON and len(name) > 2)
    return list(names)[:_MOST]


def names_in(text: str, names: list[str]) -> list[str]:
    """Return which of these names a text holds as whole words."""
    return [name for name in names if re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text)]
