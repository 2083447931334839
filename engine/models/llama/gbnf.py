"""Judges a grammar before llama.cpp sees it: some that are valid would keep it busy for years, or overrun its stack.

While llama.cpp follows a grammar it holds a stack for every way the text so far can go on, and looks at all of them for
each character. So what counts is how many ways there are from any place to the next character, and how many ways to get
past a part without one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from hub.errors import OptionRefused

LONGEST_BYTES = 65_536
_DEEPEST = 48
_MOST_REPETITIONS = 1_000
_MOST_SYMBOLS = 40_000
_MOST_WAYS = 300
"""To the next character: 300 take llama.cpp about 50 ms for each character."""
_MOST_EMPTY_WAYS = 32

_TOKEN = re.compile(
    r"(?P<blank>\s+|\#[^\n]*)"
    r"|(?P<is>::=)"
    r"|(?P<terminal>\"(?:\\.|[^\"\\])*\"|\[(?:\\.|[^\]\\])*\]|\.|!?<[^<>\n]*>)"
    r"|(?P<name>[A-Za-z0-9_-]+)"
    r"|(?P<mark>[()|])"
    r"|(?P<times>[*+?]|\{\s*\d{1,6}\s*(?:,\s*(?:\d{1,6}\s*)?)?\})",
    re.DOTALL,
)
_INVALID = "the grammar is not valid GBNF"


@dataclass(slots=True)
class _Symbol:
    rule: str
    """Empty: a character, or several."""
    least: int = 1
    most: int | None = 1


@dataclass(slots=True)
class _Rule:
    choices: list[list[_Symbol]] = field(default_factory=lambda: [[]])


def check_grammar(text: str) -> None:
    """Make sure that a grammar can be followed in bounded time.

    Raises: OptionRefused: it cannot, or is not GBNF.
    """
    if len(text.encode("utf-8", "replace")) > LONGEST_BYTES:
        raise OptionRefused(f"the grammar is longer than {LONGEST_BYTES} bytes")
    rules = _read(text)
    if "root" not in rules:
        raise OptionRefused("the grammar has no rule named root")
    ways: dict[str, tuple[int, int]] = {}
    for name in _inner_first(rules):
        ways[name] = _ways_of(rules[name], ways)
        if ways[name][0] > _MOST_WAYS or ways[name][1] > _MOST_EMPTY_WAYS:
            raise OptionRefused(
                "the grammar can go on in too many ways at once; fewer optional parts in a row help"
            )


def _read(text: str) -> dict[str, _Rule]:
    """Read the rules; groups become rules of their own."""
    rules: dict[str, _Rule] = {}
    open_rules: list[str] = []
    tokens = list(_tokens(text))
    for position, (kind, word) in enumerate(tokens):
        following = tokens[position + 1][0] if position + 1 < len(tokens) else ""
        if kind == "name" and following == "is":
            if len(open_rules) > 1:
                raise OptionRefused(_INVALID)
            open_rules = [word]
            rules[word] = _Rule()
        elif kind == "is":
            continue
        elif not open_rules:
            raise OptionRefused(_INVALID)
        else:
            _add(rules, open_rules, kind, word)
    if len(open_rules) > 1:
        raise OptionRefused(_INVALID)
    return rules


def _add(rules: dict[str, _Rule], open_rules: list[str], kind: str, word: str) -> None:
    symbols = rules[open_rules[-1]].choices[-1]
    if kind == "terminal":
        symbols += [] if word == '""' else [_Symbol("")]
    elif kind == "name":
        symbols.append(_Symbol(word))
    elif word == "|":
        rules[open_rules[-1]].choices.append([])
    elif word == "(":
        if len(open_rules) > _DEEPEST:
            raise OptionRefused(f"the grammar nests more than {_DEEPEST} groups")
        name = f"({len(rules)})"
        rules[name] = _Rule()
        symbols.append(_Symbol(name))
        open_rules.append(name)
    elif word == ")":
        if len(open_rules) < 2:
            raise OptionRefused(_INVALID)
        open_rules.pop()
    elif symbols:
        symbols[-1].least, symbols[-1].most = _times(word)


def _times(word: str) -> tuple[int, int | None]:
    known = {"*": (0, None), "+": (1, None), "?": (0, 1)}
    if word in known:
        return known[word]
    numbers = [int(number) for number in re.findall(r"\d+", word)]
    if max(numbers) > _MOST_REPETITIONS:
        raise OptionRefused(f"the grammar repeats something more than {_MOST_REPETITIONS} times")
    if "," not in word:
        return numbers[0], numbers[0]
    return numbers[0], numbers[1] if len(numbers) > 1 else None


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    for count in range(len(text) + 1):
        if position == len(text):
            return
        if count > _MOST_SYMBOLS:
            raise OptionRefused(f"the grammar has more than {_MOST_SYMBOLS} symbols")
        found = _TOKEN.match(text, position)
        if found is None:
            raise OptionRefused(_INVALID)
        position = found.end()
        if found.lastgroup != "blank":
            yield found.lastgroup or "", found[0]


def _inner_first(rules: dict[str, _Rule]) -> list[str]:
    """Return the rules so that each comes behind those it is made of, as far as they are not made of each other."""
    done: list[str] = []
    seen: set[str] = set()
    for first, rule in rules.items():
        pending = [] if first in seen else [(first, iter(_parts(rule)))]
        seen.add(first)
        while pending:
            name, parts = pending[-1]
            part = next((part for part in parts if part not in seen), None)
            if part is None:
                done.append(name)
                pending.pop()
            elif part in rules:
                seen.add(part)
                pending.append((part, iter(_parts(rules[part]))))
            else:
                raise OptionRefused(f"the grammar has no rule named {part[:60]}")
    return done


def _parts(rule: _Rule) -> list[str]:
    return [symbol.rule for symbols in rule.choices for symbol in symbols if symbol.rule]


def _ways_of(rule: _Rule, ways: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Count the ways to a first character of a rule, at most over its suffixes, and past it without one."""
    total, most, empty = 0, 0, 0
    for symbols in rule.choices:
        here, past = 0, 1
        for symbol in reversed(symbols):
            first, over = _ways_of_symbol(symbol, ways)
            here, past = first + over * here, over * past
            most = max(most, here)
            if max(here, past) > _MOST_WAYS:
                return _MOST_WAYS + 1, past
        total += here
        empty += past
    return max(total, most), empty


def _ways_of_symbol(symbol: _Symbol, ways: dict[str, tuple[int, int]]) -> tuple[int, int]:
    # A rule that is not known yet is made of this one: what follows is counted where it is.
    first, over = ways.get(symbol.rule, (0, 0)) if symbol.rule else (1, 0)
    copies = symbol.most if symbol.most is not None else symbol.least + 1
    if over == 0:
        return first if copies else 0, int(symbol.least == 0)
    if over > 1 and copies > 8:
        return _MOST_WAYS + 1, over
    total = sum(first * over**number for number in range(copies))
    return total, sum(over**number for number in range(symbol.least, copies + 1))
