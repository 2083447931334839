"""Words of a text as lexical search compares them: lower case, without endings, names of code also in their parts."""

import re
from functools import lru_cache

_WORD = re.compile(r"\w+(?:['’]\w+)?", re.UNICODE)
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_MAX_CHARS = 40
"""Longer runs of characters are no words anybody asks for."""
STOP_WORDS = frozenset(
    re.findall(
        r"[\w']+",
        """a about above after again all also am an and any are as at be because been before being below between both but
    by can can't cannot could did do does doesn't doing don't done down during each either else ever few for from
    further get gets getting give gives go had has have having he her here hers him his how i i'd i'll i'm i've if in
    into is isn't it it's its itself just know let like make makes many may me might mine more most much must my need
    no nor not now of off on once only or other our ours out over own please same shall she should so some such tell
    than that that's the their theirs them then there there's these they thing things this those through to too under
    until up upon us use used uses using very want was way we well were what what's when where which while who whom
    whose why will with within without would yes yet you your yours""",
    )
)
"""Words that tell nothing about what is asked for."""


def terms(text: str) -> list[str]:
    """Give the stems of the words that carry meaning, in their order; `getUserName` also gives its parts."""
    return [found for word in _WORD.findall(text) for found in _stems(word)]


def question_words(text: str) -> dict[str, str]:
    """Give the words of a question that carry meaning, by their stems: databases cut endings off themselves."""
    found: dict[str, str] = {}
    for written in _WORD.findall(text):
        for word in _words(written):
            found.setdefault(stem(word), word)
    return found


@lru_cache(maxsize=50_000)
def _stems(written: str) -> tuple[str, ...]:
    """Stem a word as it is written; a search reads the same words in hundreds of chunks."""
    return tuple(map(stem, _words(written)))


def _words(written: str) -> list[str]:
    """Give a word as it is compared, and the parts of a name of code; nothing for one that carries no meaning."""
    if len(written) > _MAX_CHARS:
        return []
    lower = written.lower().replace("’", "'")
    if lower in STOP_WORDS:
        return []
    parts: list[str] = []
    if "_" in written or not (written.islower() or written.istitle()):
        parts = [part.lower() for part in _PARTS.findall(written) if len(part) > 1]
    return [lower.removesuffix("'s"), *(parts if len(parts) > 1 else ())]


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Cut an English word's endings off, so that forms of one word compare equal; other words change little.

    Source: M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980; as SQLite's FTS5 has it.
    """
    if len(word) < 3 or not word.isascii() or not word.isalpha():
        return word
    word = _third_person(word)
    word = _past_and_progress(word)
    if word.endswith("y") and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    for suffixes in (_STEP_2, _STEP_3):
        word = _replaced(word, suffixes)
    return _tidied(_without_last_suffix(word))


_STEP_2 = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "logi": "log", "bli": "ble",
    "alli": "al", "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate",
    "alism": "al", "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble",
}  # fmt: skip
_STEP_3 = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
_STEP_4 = sorted(
    re.findall(r"\w+", "al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize"),
    key=len,
    reverse=True,
)
_MEASURE = re.compile(r"[v]+c+")


def _shape(word: str) -> str:
    """Write a word as v and c; `y` is a vowel behind a consonant."""
    shape = ""
    for position, letter in enumerate(word):
        is_vowel = letter in "aeiou" or (letter == "y" and position > 0 and shape[-1] == "c")
        shape += "v" if is_vowel else "c"
    return shape


def _measure(word: str) -> int:
    return len(_MEASURE.findall(_shape(word)))


def _has_vowel(word: str) -> bool:
    return "v" in _shape(word)


def _ends_short(word: str) -> bool:
    return _shape(word).endswith("cvc") and word[-1] not in "wxy"


def _third_person(word: str) -> str:
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past_and_progress(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) else word
    for suffix in ("ed", "ing"):
        base = word.removesuffix(suffix)
        if base == word or not _has_vowel(base):
            continue
        if base.endswith(("at", "bl", "iz")):
            return base + "e"
        if len(base) > 1 and base[-1] == base[-2] and base[-1] not in "aeioulsz":
            return base[:-1]
        return base + "e" if _measure(base) == 1 and _ends_short(base) else base
    return word


def _replaced(word: str, suffixes: dict[str, str]) -> str:
    for suffix in sorted(suffixes, key=len, reverse=True):
        if word.endswith(suffix):
            base = word.removesuffix(suffix)
            return base + suffixes[suffix] if _measure(base) else word
    return word


def _without_last_suffix(word: str) -> str:
    for suffix in _STEP_4:
        if word.endswith(suffix):
            base = word.removesuffix(suffix)
            may_go = suffix != "ion" or base.endswith(("s", "t"))
            return base if may_go and _measure(base) > 1 else word
    return word


def _tidied(word: str) -> str:
    if word.endswith("e"):
        base = word[:-1]
        measure = _measure(base)
        if measure > 1 or (measure == 1 and not _ends_short(base)):
            word = base
    return word[:-1] if word.endswith("ll") and _measure(word) > 1 else word
