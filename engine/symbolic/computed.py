"""A computed result as a sentence of its own, and the check that an answer tells just that."""

import re
from dataclasses import dataclass

from engine.text import content_stems, stem, words

_NUMBER = re.compile(r"[-−]?\d+(?:[.,:]\d+)*")
_LAST = re.compile(r"([$€£₹])?\s?[-−]?\d+(?:[.,:]\d+)*\s?([%°$€£₹])?(?!.*\d)", re.DOTALL)
_DENIALS = frozenset({"not", "no", "never", "isn't", "aren't", "doesn't", "don't", "than", "minus", "about"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """A result that is certain, with the calculation it comes from."""

    sentence: str
    """Calculation and result, such as "12 × 7 = 84."."""
    result: str
    """What an answer must hold, such as "84"; stands in the sentence, at its end where it is a number."""

    def is_told_by(self, answer: str, question: str) -> bool:
        """Whether an answer tells this result, no other number, and nothing that was not asked.

        The numbers must come in the order of the calculation: "7 × 84 = 12" holds the right ones only.
        """
        if not _has_words(answer, self._measure()) or not _signs(answer) <= _signs(self.sentence):
            return False
        told, own = _numbers(answer), _numbers(self.sentence)
        if not _is_subsequence(told, own) or told[-1:] != own[-1:]:
            return False
        known = content_stems(self.sentence) | content_stems(question)
        denied = _DENIALS & set(words(answer)) - set(words(self.sentence))
        return content_stems(answer) <= known | {stem("equal"), stem("result"), stem("answer")} and not denied

    def _measure(self) -> str:
        """Return the result with its unit: so many kilometres are not as many miles."""
        is_number = re.fullmatch(r"[-−]?[\d.,]+", self.result)
        return self.sentence[self.sentence.rindex(self.result) :] if is_number else self.result


def _signs(text: str) -> set[str]:
    """Return what the signs at the last number make of it: per cent, degrees, money."""
    return {sign for sign in match.groups() if sign} if (match := _LAST.search(text)) else set()


def _numbers(text: str) -> list[str]:
    return [number.replace("−", "-") for number in _NUMBER.findall(text)]


def _has_words(text: str, part: str) -> bool:
    return f" {' '.join(words(part))} " in f" {' '.join(words(text))} "


def _is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(number in rest for number in part)
