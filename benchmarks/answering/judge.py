"""Is every sentence of an answer borne out by the section it names? Judged apart from the engine, on the page itself.

A sentence is supported by the section of the mark that follows it, when

- its letters and digits stand in the section in one piece: it is a quotation; or
- two neighbouring sentences of the section, together with the page's title, hold all of its content words (compared by
  their first five letters), all of its numbers and all of its names, and as many negations as it has itself. Words of
  the question count for nothing: they may be a false premise.

Nothing here is shared with the engine: neither its words and sentences nor its check.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hub.messages import Source

_MARKS = re.compile(r"(?<!\S)((?:\[\d\])+)(?=\s|$)")
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_SENTENCE = re.compile(r"(?<=[.!?:])[\"'”’)*_`]*\s+(?=[^a-z\s])")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+", re.MULTILINE)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[^\W\d_]{2,}")
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nothing|without|cannot|neither|nor)\b|n['’]t\b", re.IGNORECASE
)
_SMALL = frozenset(
    re.findall(
        r"\w+",
        """an the and or but if is are was were be been am it its this that these those they them their you your we our he she his
        her of to in on at by for from with as so do does did has have had can could will would may might there here which
        who what when where how why than then also not no never none nothing without cannot neither nor""",
    )
)
_STEM = 5
_WINDOW = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A sentence, list item or block of code of an answer, and whether its section says it."""

    text: str
    is_supported: bool


def judge(answer: str, sources: Sequence[Source], pages: Mapping[str, str]) -> list[Judged]:
    """Judge each sentence of an answer.

    Args:
        pages: what a reader sees of each section, its page's title included, by location.
    """
    judged = []
    for text, numbers in _parts(answer, len(sources)):
        cited = [pages[source.location] for source in sources if source.number in numbers]
        judged += [
            Judged(text=unit, is_supported=any(is_supported(unit, page) for page in cited))
            for unit in _units(text)
        ]
    return judged


def is_supported(sentence: str, page: str) -> bool:
    """Whether a page says what a sentence says."""
    if (quoted := _letters(sentence)) and quoted in _letters(page):
        return True
    title, _, text = page.partition("\n")
    known = _sentences(text)
    windows = (" ".join(known[place : place + _WINDOW]) for place in range(len(known)))
    return any(_says(title, window, sentence) for window in windows)


def _says(title: str, window: str, sentence: str) -> bool:
    held = _content(f"{title} {window}")
    return (
        _content(sentence) <= held
        and set(_NUMBER.findall(sentence)) <= set(_NUMBER.findall(window))
        and _names(sentence) <= set(re.findall(r"\w+", f"{title} {window}"))
        and len(_NEGATION.findall(sentence)) == len(_NEGATION.findall(window))
    )


def _parts(answer: str, sources: int) -> list[tuple[str, set[int]]]:
    """Cut an answer behind each run of marks; what follows the last one has none."""
    hidden = _FENCED.sub(lambda code: "\0" * len(code[0]), answer)
    parts, begin = [], 0
    for found in _MARKS.finditer(hidden):
        numbers = {int(digit) for digit in re.findall(r"\d", found[0])}
        if max(numbers) <= sources:
            parts.append((answer[begin : found.start()], numbers))
            begin = found.end()
    return [*parts, (answer[begin:], set())]


def _units(text: str) -> list[str]:
    units = [match[0] for match in _FENCED.finditer(text)]
    for paragraph in re.split(r"\n\s*\n", _FENCED.sub("\n\n", text)):
        for item in _ITEM.split(paragraph):
            units += _sentences(item)
    return [unit for unit in units if _letters(unit)]


def _sentences(text: str) -> list[str]:
    return [part for part in _SENTENCE.split(" ".join(text.split())) if part]


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _content(text: str) -> set[str]:
    said = _WORD.findall(_NEGATION.sub(" ", text.lower()))
    return {word[:_STEM] for word in said if word not in _SMALL}


def _names(sentence: str) -> set[str]:
    said = re.findall(r"\w+", sentence)
    return {word for word in said[1:] if word[0].isupper()}
