"""Judges a grammar before llama.cpp sees it: some that are valid would keep it busy for years, or overrun its stack.

While llama.cpp follows a grammar it holds a stack for every way the text so far can go on, and looks at all of them for
each character. So what counts is how many ways there are from any place to the next character, and how many ways to get
past a part without one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from hub.errors import OptionRefused

LONGEST_BYTES = 65_536
_DEEPEST = 48
_MOST_REPETITIONS = 1_000
_MOST_SYMBOLS = 40_000
_MOST_FIRSTS = 1_000
_MOST_PAIRS = 2_000
"""60 optional letters in a row are about as many, and take llama.cpp 0.1 s for each token."""
_MOST_EMPTY = 32

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


class _Ways(NamedTuple):
    """How many ways there are, from the beginning of a rule or of what is left of one."""

    firsts: int = 0
    """To a first character."""
    empty: int = 0
    """To the end without one."""
    singles: int = 0
    """To the end with one."""
    pairs: int = 0
    """To a second character."""

    @property
    def are_too_many(self) -> bool:
        """Whether llama.cpp could not follow them."""
        return self.firsts > _MOST_FIRSTS or self.pairs > _MOST_PAIRS or self.empty > _MOST_EMPTY


_END = _Ways(empty=1)


@dataclass(slots=True)
class _Symbol:
    rule: str
    """Empty: a character, or several."""
    length: int = 1
    """In characters, when it is not a rule; more than 1 is several."""
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
    symbols = (symbol for rule in rules.values() for choice in rule.choices for symbol in choice)
    if sum(symbol.most or symbol.least + 1 for symbol in symbols) > _MOST_SYMBOLS:
        raise OptionRefused(f"the grammar has more than {_MOST_SYMBOLS} symbols, repetitions included")
    known: dict[str, _Ways] = {}
    for name in _inner_first(rules):
        known[name] = _ways_of(rules[name], known)
        if known[name].are_too_many:
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
        symbols += [] if word == '""' else [_Symbol("", _length(word))]
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


def _length(word: str) -> int:
    return 1 if word[0] != '"' or re.fullmatch(r'"(.|\\.|\\x..|\\u.{4}|\\U.{8})"', word, re.DOTALL) else 2


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


def _ways_of(rule: _Rule, known: dict[str, _Ways]) -> _Ways:
    """Count the ways into and through a rule; `firsts` and `pairs` are the most of any of its suffixes."""
    total, most = _Ways(), _Ways()
    for symbols in rule.choices:
        ways = _END
        for symbol in reversed(symbols):
            # A rule that is not known yet is made of this one: its ways are counted where they begin.
            inner = known.get(symbol.rule, _Ways()) if symbol.rule else _Ways(1, 0, 1, 0)
            inner = inner if symbol.length == 1 else _Ways(1, 0, 0, 1)
            ways = _repeated(inner, symbol, ways)
            most = _Ways(firsts=max(most.firsts, ways.firsts), pairs=max(most.pairs, ways.pairs))
        total = _Ways(*map(sum, zip(total, ways, strict=True)))
    return _Ways(max(total.firsts, most.firsts), total.empty, total.singles, max(total.pairs, most.pairs))


def _repeated(inner: _Ways, symbol: _Symbol, after: _Ways) -> _Ways:
    """Put a symbol, as often as it is repeated, before what comes after it."""
    ways = after
    copies = symbol.least + 2 if symbol.most is None else symbol.most
    for copy in reversed(range(copies)):
        firsts = inner.firsts + inner.empty * ways.firsts
        empty = inner.empty * ways.empty
        singles = inner.singles * ways.empty + inner.empty * ways.singles
        pairs = inner.pairs + inner.singles * ways.firsts + inner.empty * ways.pairs
        if copy >= symbol.least:
            # The rest of the copies may be left out: then it goes on with what comes after all of them.
            firsts, empty = firsts + after.firsts, empty + after.empty
            singles, pairs = singles + after.singles, pairs + after.pairs
        ways = _Ways(firsts, empty, singles, pairs)
        if ways.are_too_many:
            break
    return ways
